//! The migrations table of a schema that is adopted.

use sea_orm::ConnectionTrait;
use sea_orm_migration::MigratorTraitSelf;

use super::AdoptError;
use crate::{
    DynMigrator, Error,
    sql::query::{column, rows},
};

/// The table $2 of the schema $1: its qualified name, and whether it is a migrations table.
const TABLE: &str = "
    SELECT format('%I.%I', n.nspname, c.relname), c.relkind IN ('r', 'p')
        AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname = 'version' AND NOT a.attisdropped)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2";

/// The applied migrations as the schema records them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Records {
    NoTable,
    /// The sorted names in the table.
    Found(Vec<String>),
}

impl Records {
    pub(super) async fn read(
        txn: &impl ConnectionTrait,
        schema: &str,
        migrator: &DynMigrator,
    ) -> Result<Self, AdoptError> {
        let name = migrator.migration_table_name().to_string();
        let found = rows(txn, TABLE, [schema.into(), name.clone().into()]).await?;
        let Some(row) = found.first() else { return Ok(Self::NoTable) };
        if !row.try_get_by_index::<bool>(1)? {
            return Err(AdoptError::MigrationsTable { schema: schema.to_owned(), table: name });
        }
        let table: String = row.try_get_by_index(0)?;
        let names = format!("SELECT version::text FROM {table} ORDER BY 1");
        Ok(Self::Found(column(txn, names, []).await?))
    }

    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::NoTable => &[],
            Self::Found(names) => names,
        }
    }

    /// The migrations that count as applied, oldest first: those in the table, else those up to `at`,
    /// else all.
    pub(super) fn applied(
        &self,
        schema: &str,
        migrator: &DynMigrator,
        at: Option<&str>,
    ) -> Result<Vec<String>, AdoptError> {
        let (schema, recorded) = (schema.to_owned(), self.names());
        let mut wanted = migrator.names();
        let unknown = |name: &&String| !wanted.contains(name);
        let unknown: Vec<String> = recorded.iter().filter(unknown).cloned().collect();
        if !unknown.is_empty() {
            return Err(AdoptError::UnknownMigrations { schema, names: unknown });
        }
        if let Some(version) = at {
            let Some(last) = wanted.iter().position(|name| name == version) else {
                return Err(Error::UnknownVersion { version: version.to_owned() }.into());
            };
            wanted.truncate(last + 1);
        }
        if recorded.is_empty() {
            return Ok(wanted);
        }
        let agrees = recorded.len() == wanted.len();
        match at {
            Some(version) if !agrees || recorded.iter().any(|name| !wanted.contains(name)) => {
                let (version, names) = (version.to_owned(), recorded.to_vec());
                Err(AdoptError::OtherMigrations { schema, version, names })
            }
            _ => {
                wanted.retain(|name| recorded.contains(name));
                Ok(wanted)
            }
        }
    }
}
