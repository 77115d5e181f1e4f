//! Schemas that look like those of tenants, and have no row in the registry.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use sea_orm_migration::MigratorTraitSelf;

use crate::{DynMigrator, provision::BEING_CREATED, sql::query::rows};

/// A schema without a row in the registry, or whose tenant was dropped.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct UnregisteredSchema {
    /// Name of the schema.
    pub schema: String,
    /// Whether it is marked as one of a creation that was interrupted
    /// ([`remove_unfinished`](crate::remove_unfinished) removes it).
    pub unfinished: bool,
    /// Whether it has the application's migrations table. Otherwise only its name is like that of a
    /// tenant.
    pub migrated: bool,
}

/// Schemas without a row in the registry that have a migrations table, the mark of an unfinished
/// creation, the name of a dropped tenant's schema, or this prefix; without those that are being
/// created. At most `limit` of them.
///
/// # Errors
/// The errors of the database.
pub async fn unregistered_schemas(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
    prefix: &str,
    limit: u64,
) -> Result<Vec<UnregisteredSchema>, DbErr> {
    let table = migrator.migration_table_name().to_string();
    let shared = migrator.shared().map_or("registry", |shared| shared.schema().as_str());
    let sql = format!(
        "SELECT * FROM (
            SELECT n.nspname::text AS schema,
                coalesce(obj_description(n.oid, 'pg_namespace')
                    = 'tenantry: unfinished creation of schema ' || n.oid, false) AS unfinished,
                EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid
                    AND c.relname = $1 AND c.relkind IN ('r', 'p')) AS migrated
            FROM pg_catalog.pg_namespace n
            WHERE n.nspname !~ '^pg_'
            AND n.nspname NOT IN ('public', 'information_schema', 'registry', $2)
            AND NOT EXISTS (SELECT FROM registry.tenants t
                WHERE t.schema = n.nspname AND t.status <> 'dropped')
            AND NOT {BEING_CREATED}
        ) AS n
        WHERE unfinished OR migrated OR $3 <> '' AND starts_with(schema, $3)
            OR EXISTS (SELECT FROM registry.tenants t WHERE t.schema = n.schema)
        ORDER BY schema LIMIT $4"
    );
    let values = [table.into(), shared.into(), prefix.into(), limit.cast_signed().into()];
    let found = rows(db, sql, values).await?;
    found.iter().map(|row| UnregisteredSchema::from_query_result(row, "")).collect()
}
