//! Tenants that a fleet run works on.

use std::{collections::HashSet, fmt};

use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
    sea_query::{Expr, extension::postgres::PgExpr},
};
use tenantry_registry::{SchemaName, Slug, TenantId, tenant};

use crate::{
    DbErrorKind, DynMigrator, Error,
    lock::PROVISIONING,
    sql::query::{execute, rows},
};

/// Tenant or spare, as it was in the registry when the run started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetTenant {
    /// Key of the tenant.
    pub id: TenantId,
    /// Slug of the tenant; `None` for a spare.
    pub slug: Option<Slug>,
    /// Schema of its tables.
    pub schema: SchemaName,
    /// Newest migration of its schema before which none is missing.
    pub version: Option<String>,
    /// Hash of the set of its applied migrations.
    pub(crate) set: String,
}

/// Tenants to migrate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSelection {
    /// All tenants and spares, except those that are being dropped.
    All,
    /// Those whose last migration failed.
    LastMigrationFailed,
    /// Only these.
    Only(Vec<FleetTenant>),
}

/// Tenants that are migrated first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// This number of the oldest tenants.
    Number(usize),
    /// Tenants with this tag, in the array `tags` in `metadata` of `registry.tenants`.
    Tag(String),
}

impl fmt::Display for FleetTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.slug {
            Some(slug) => slug.fmt(f),
            None => self.schema.fmt(f),
        }
    }
}

type Row = (TenantId, Option<Slug>, SchemaName, Option<String>, String);

impl From<Row> for FleetTenant {
    fn from((id, slug, schema, version, set): Row) -> Self {
        Self { id, slug, schema, version, set }
    }
}

/// The names are too long to fetch for each tenant.
const SET: &str = r#"md5("migrations"::text)"#;

const COLUMNS: [tenant::Column; 4] = [
    tenant::Column::Id,
    tenant::Column::Slug,
    tenant::Column::Schema,
    tenant::Column::SchemaVersion,
];

/// Returns the selected tenants, in the order of their creation.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::Database`].
pub async fn fleet_tenants(
    db: &DatabaseConnection,
    selection: &TenantSelection,
) -> Result<Vec<FleetTenant>, Error> {
    if let TenantSelection::Only(tenants) = selection {
        return Ok(tenants.clone());
    }
    let mut query = not_dropping();
    if *selection == TenantSelection::LastMigrationFailed {
        query = query.filter(tenant::Column::MigrationError.is_not_null());
    }
    fetch(db, query).await
}

/// Returns the tenants with these slugs that exist, in the order of their creation.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::Database`].
pub async fn tenants_by_slug(
    db: &DatabaseConnection,
    slugs: &[Slug],
) -> Result<Vec<FleetTenant>, Error> {
    fetch(db, not_dropping().filter(tenant::Column::Slug.eq_any(slugs.to_vec()))).await
}

/// All that are neither dropped nor being dropped.
fn not_dropping() -> Select<tenant::Entity> {
    tenant::Entity::find()
        .select_only()
        .columns(COLUMNS)
        .expr(Expr::cust(SET))
        .filter(tenant::Column::Status.is_not_in(tenant::Status::GONE))
        .order_by_asc(tenant::Column::Id)
}

async fn fetch(
    db: &DatabaseConnection,
    query: Select<tenant::Entity>,
) -> Result<Vec<FleetTenant>, Error> {
    let rows = query.into_tuple::<Row>().all(db).await.map_err(map_missing_registry)?;
    Ok(rows.into_iter().map(FleetTenant::from).collect())
}

/// Returns the number of selected tenants, and those whose applied migrations differ from
/// `migrator`'s or whose last migration failed (that may have been a rollback from the newest
/// version), in one query.
pub(super) async fn tenants_behind(
    db: &DatabaseConnection,
    selection: &TenantSelection,
    migrator: &DynMigrator,
) -> Result<(usize, Vec<FleetTenant>), Error> {
    let (names, _) = migrator.all_applied();
    let only_failed = *selection == TenantSelection::LastMigrationFailed;
    // Returns a row with the number also if no tenant is behind.
    let sql = r#"SELECT "all"."count", t."id", t."slug", t."schema", t."schema_version",
               md5(t."migrations"::text)
           FROM (SELECT count(*) FROM "registry"."tenants"
                 WHERE "status" NOT IN ('dropping', 'dropped')
                 AND ("migration_error" IS NOT NULL OR NOT $2)) AS "all"
           LEFT JOIN "registry"."tenants" t
             ON t."status" NOT IN ('dropping', 'dropped')
             AND (t."migration_error" IS NOT NULL
                OR NOT $2 AND (t."schema_version" IS DISTINCT FROM $1
                   OR t."migrations" <> $3 AND t."schema_version" = ANY (t."migrations")))
           ORDER BY t."id""#;
    let values = [migrator.latest().into(), only_failed.into(), names.into()];
    let (mut all, mut behind) = (0, Vec::new());
    for row in rows(db, sql, values).await.map_err(map_missing_registry)? {
        all = row.try_get_by_index::<i64>(0)? as usize;
        if row.try_get_by_index::<Option<TenantId>>(1)?.is_some() {
            behind.push(FleetTenant {
                id: row.try_get_by_index(1)?,
                slug: row.try_get_by_index(2)?,
                schema: row.try_get_by_index(3)?,
                version: row.try_get_by_index(4)?,
                set: row.try_get_by_index(5)?,
            });
        }
    }
    Ok((all, behind))
}

/// Waits for tenants that are being created now, so that the next query returns them.
pub(super) async fn wait_for_provisioning(db: &DatabaseConnection) -> Result<(), Error> {
    // Autocommit: the lock is released immediately.
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    Ok(execute(db, sql, [PROVISIONING.into()]).await?)
}

/// Removes the canaries from `tenants` and returns them.
pub(super) async fn canaries(
    db: &DatabaseConnection,
    canary: &Canary,
    tenants: &mut Vec<FleetTenant>,
) -> Result<Vec<FleetTenant>, Error> {
    match canary {
        Canary::Number(number) => Ok(tenants.drain(..tenants.len().min(*number)).collect()),
        Canary::Tag(tag) => {
            let tagged = serde_json::json!({ "tags": [tag] });
            let ids: HashSet<TenantId> = tenant::Entity::find()
                .select_only()
                .column(tenant::Column::Id)
                .filter(Expr::col(tenant::Column::Metadata).contains(tagged))
                .filter(tenant::Column::Status.is_not_in(tenant::Status::GONE))
                .into_tuple()
                .all(db)
                .await?
                .into_iter()
                .collect();
            // Tenants with the tag may be up to date; if there are none at all, it is misspelt.
            if ids.is_empty() {
                return Err(Error::NoCanary { tag: tag.clone() });
            }
            Ok(tenants.extract_if(.., |tenant| ids.contains(&tenant.id)).collect())
        }
    }
}

/// Turns the error for a missing table into [`Error::MissingRegistry`].
pub(super) fn map_missing_registry(error: DbErr) -> Error {
    match DbErrorKind::of(&error) {
        DbErrorKind::UndefinedTable => Error::MissingRegistry,
        _ => error.into(),
    }
}
