//! Lists of tenants that other frameworks keep in the same database.

use sea_orm::{ConnectionTrait, Value};

use super::AdoptError;
use crate::sql::{
    query::{rows, scalar},
    quoted,
};

/// A framework with a schema for each tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framework {
    /// Apartment, for Rails. `config.tenant_names` reads a table of the application; its defaults here
    /// are the table `accounts` and the column `subdomain`.
    Apartment,
    /// django-tenants. The table of the model with `TenantMixin`, and that with `DomainMixin`, which
    /// references it, are found by their columns.
    DjangoTenants,
    /// Triplex, for Ecto. It keeps no table: without one, the tenants are the schemas with the table
    /// `schema_migrations`. The default column of a table of the application is `id`.
    Triplex,
}

/// Where a framework lists its tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantList {
    /// The framework.
    pub framework: Framework,
    /// The table with the tenants, `table` in `public` or `schema.table`.
    pub table: Option<String>,
    /// Its column with the names of the schemas.
    pub schema_column: Option<String>,
    /// Its column with the display names.
    pub name_column: Option<String>,
    /// Prefix of the schemas' names that the values of the column do not have.
    pub prefix: String,
}

/// A tenant in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedTenant {
    /// Name of its schema.
    pub schema: String,
    /// Display name.
    pub name: Option<String>,
    /// Host names, the primary one first.
    pub domains: Vec<String>,
}

impl TenantList {
    /// The list of a framework in its usual place.
    #[must_use]
    pub fn new(framework: Framework) -> Self {
        let (table, schema_column, name_column) = (None, None, None);
        Self { framework, table, schema_column, name_column, prefix: String::new() }
    }

    /// Reads the list, ordered by schema. The schema `public` is left out: it belongs to no tenant in
    /// any of the frameworks.
    ///
    /// # Errors
    /// [`AdoptError::NoList`] if there is no such table or column, [`AdoptError::SeveralLists`] if the
    /// table has to be chosen, and [`AdoptError::Migration`] if the database fails.
    pub async fn read(&self, db: &impl ConnectionTrait) -> Result<Vec<ListedTenant>, AdoptError> {
        let (query, values) = match (self.framework, &self.table) {
            (Framework::Triplex, None) => (SCHEMAS.to_owned(), vec![self.prefix.as_str().into()]),
            _ => (self.query(db).await?, vec![self.prefix.as_str().into()]),
        };
        let found = rows(db, query, values).await?;
        let listed = found.iter().map(|row| {
            let domains: Option<String> = row.try_get_by_index(2)?;
            let domains = domains.map(|it| it.split('\n').map(str::to_owned).collect());
            Ok(ListedTenant {
                schema: row.try_get_by_index(0)?,
                name: row.try_get_by_index(1)?,
                domains: domains.unwrap_or_default(),
            })
        });
        listed.collect::<Result<_, sea_orm::DbErr>>().map_err(AdoptError::from)
    }

    /// The query of the table of tenants.
    async fn query(&self, db: &impl ConnectionTrait) -> Result<String, AdoptError> {
        let default_column = match self.framework {
            Framework::Apartment => "subdomain",
            Framework::DjangoTenants => "schema_name",
            Framework::Triplex => "id",
        };
        let column = self.schema_column.as_deref().unwrap_or(default_column);
        let table = match (&self.table, self.framework) {
            (Some(table), _) => table.clone(),
            (None, Framework::DjangoTenants) => return self.django(db, column, None).await,
            (None, _) => "accounts".to_owned(),
        };
        let (schema, name) = table.split_once('.').unwrap_or(("public", &table));
        let columns: Vec<&str> =
            [Some(column), self.name_column.as_deref()].into_iter().flatten().collect();
        for column in &columns {
            let values: [Value; 3] = [schema.into(), name.into(), (*column).into()];
            if scalar::<bool>(db, COLUMN, values).await? != Some(true) {
                let (table, column) = (table.clone(), (*column).to_owned());
                return Err(AdoptError::NoList { table, column });
            }
        }
        let qualified = format!("{}.{}", quoted(schema), quoted(name));
        match self.framework {
            Framework::DjangoTenants => self.django(db, column, Some(qualified)).await,
            _ => Ok(self.select(&qualified, column, "NULL::text", "")),
        }
    }

    /// The query of django-tenants' tables: `table`, or the only one with the column that a table of
    /// domains references.
    async fn django(
        &self,
        db: &impl ConnectionTrait,
        column: &str,
        table: Option<String>,
    ) -> Result<String, AdoptError> {
        let values = [column.into(), table.clone().into()];
        let found = rows(db, DOMAINS, values).await?;
        let tables: Result<Vec<[String; 4]>, sea_orm::DbErr> = found
            .iter()
            .map(|row| {
                let text = |at| row.try_get_by_index::<String>(at);
                Ok([text(0)?, text(1)?, text(2)?, text(3)?])
            })
            .collect();
        let mut tables = tables?;
        match (tables.len(), table) {
            (1, _) => {
                let [tenants, key, domains, reference] = tables.remove(0);
                let joined = format!(
                    "LEFT JOIN LATERAL (SELECT string_agg(d.domain, E'\\n' \
                     ORDER BY d.is_primary DESC, d.domain) AS domains FROM {domains} d \
                     WHERE d.{reference} = t.{key}) it ON true"
                );
                Ok(self.select(&tenants, column, "it.domains", &joined))
            }
            (0, Some(table)) => Ok(self.select(&table, column, "NULL::text", "")),
            (0, None) => {
                let (table, column) = ("customers_client".to_owned(), column.to_owned());
                Err(AdoptError::NoList { table, column })
            }
            _ => {
                let tables = tables.into_iter().map(|[tenants, ..]| tenants).collect();
                Err(AdoptError::SeveralLists { tables })
            }
        }
    }

    fn select(&self, table: &str, column: &str, domains: &str, joined: &str) -> String {
        let column = quoted(column);
        let name = self
            .name_column
            .as_deref()
            .map_or("NULL".to_owned(), |name| format!("t.{}", quoted(name)));
        format!(
            "SELECT * FROM (SELECT $1::text || coalesce(t.{column}::text, '') AS schema,
                 nullif(btrim({name}::text), '') AS name, {domains} AS domains FROM {table} t {joined}
             ) listed WHERE schema <> 'public' ORDER BY schema COLLATE \"C\""
        )
    }
}

/// Whether the table $2 of the schema $1 has the column $3.
const COLUMN: &str = "
    SELECT true FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped";

/// The schemas with a table `schema_migrations`, such as those that Ecto migrates, whose names begin
/// with $1.
const SCHEMAS: &str = "
    SELECT n.nspname::text, NULL::text, NULL::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
    AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('public', 'information_schema', 'registry')
    AND starts_with(n.nspname::text, $1) AND n.nspname <> $1
    ORDER BY n.nspname COLLATE \"C\"";

/// Tables with the column $1 (the table $2, if it is given) that a table with the columns `domain` and
/// `is_primary` references: the table, its referenced column, that other table, and its column.
const DOMAINS: &str = "
    SELECT format('%I.%I', tn.nspname, t.relname), quote_ident(ka.attname),
        format('%I.%I', dn.nspname, d.relname), quote_ident(fa.attname)
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class t ON t.oid = k.confrelid
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_catalog.pg_class d ON d.oid = k.conrelid
    JOIN pg_catalog.pg_namespace dn ON dn.oid = d.relnamespace
    JOIN pg_catalog.pg_attribute ka ON ka.attrelid = t.oid AND ka.attnum = k.confkey[1]
    JOIN pg_catalog.pg_attribute fa ON fa.attrelid = d.oid AND fa.attnum = k.conkey[1]
    WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
    AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = t.oid AND a.attname = $1 AND NOT a.attisdropped)
    AND (SELECT count(*) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = d.oid AND a.attname IN ('domain', 'is_primary') AND NOT a.attisdropped) = 2
    AND ($2::text IS NULL
        OR (tn.nspname, t.relname) = (SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($2)))
    ORDER BY 1";
