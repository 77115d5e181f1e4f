//! Objects that belong to no tenant.

use sea_orm::{DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTraitSelf;

use super::Finding;
use crate::{
    DynMigrator, extension::tables_in_extension_schemas, provision::BEING_CREATED,
    sql::query::column,
};

/// Schemas with a migrations table and without a row, and tables in `public` and in schemas of
/// extensions.
pub(super) async fn orphans(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Result<Vec<Finding>, DbErr> {
    let table = migrator.migration_table_name().to_string();
    let shared = migrator.shared().map_or("registry", |shared| shared.schema().as_str());
    let without_row = format!(
        "
        SELECT n.nspname::text FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = $1 AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('public', 'registry', $2) AND NOT {BEING_CREATED}
        EXCEPT SELECT t.schema FROM registry.tenants t WHERE t.status <> 'dropped' ORDER BY 1"
    );
    // PostGIS, for example, has a table.
    let in_public = "
        SELECT c.relname::text FROM pg_catalog.pg_class c
        WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p', 'f', 'm')
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
            AND d.deptype = 'e') ORDER BY 1";
    let mut found = Vec::new();
    for (schema, tables) in tables_in_extension_schemas(db, migrator).await? {
        // Tables in `public` are found below, whether or not it has extensions.
        let tables = tables.into_iter().filter(|_| schema != "public");
        found.extend(
            tables.map(|table| Finding::TableInExtensionSchema { schema: schema.clone(), table }),
        );
    }
    let schemas = column(db, without_row, [table.into(), shared.into()]).await?.into_iter();
    found.extend(schemas.map(|schema| Finding::SchemaWithoutRow { schema }));
    let tables = column(db, in_public, []).await?.into_iter();
    found.extend(tables.map(|table| Finding::TableInPublic { table }));
    Ok(found)
}
