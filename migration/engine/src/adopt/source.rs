//! Checks of a schema that is to be adopted.

use sea_orm::{ConnectionTrait, DbErr};
use tenantry_registry::SCHEMA;

use super::AdoptError;
use crate::{
    DynMigrator,
    provision::BEING_CREATED,
    sql::query::{column, rows},
};

/// Returns an error unless the schema exists, has tables, belongs to no tenant, and its objects
/// belong to the role.
pub(super) async fn check(
    txn: &impl ConnectionTrait,
    schema: &str,
    migrator: &DynMigrator,
) -> Result<(), AdoptError> {
    let name = schema.to_owned();
    if let Some(owner) = reserved(schema, migrator) {
        return Err(AdoptError::Reserved { schema: name, owner });
    }
    let facts = format!(
        "SELECT current_user::text, {BEING_CREATED}, EXISTS (
             SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid
             AND c.relkind IN ('r', 'p', 'f') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                 AND d.deptype = 'e'))
         FROM pg_catalog.pg_namespace n WHERE n.nspname = $1"
    );
    let found = rows(txn, facts, [schema.into()]).await?;
    let Some(row) = found.first() else { return Err(AdoptError::Missing { schema: name }) };
    let role: String = row.try_get_by_index(0)?;
    refuse_tenants(txn, schema).await?;
    if row.try_get_by_index(1)? {
        return Err(AdoptError::BeingCreated { schema: name });
    }
    if !row.try_get_by_index::<bool>(2)? {
        return Err(AdoptError::NoTables { schema: name });
    }
    let objects = of_others(txn, schema).await?;
    if !objects.is_empty() {
        return Err(AdoptError::OtherOwner { schema: name, role, objects });
    }
    Ok(())
}

/// What a schema belongs to that no tenant can have.
fn reserved(schema: &str, migrator: &DynMigrator) -> Option<&'static str> {
    let of_extensions = |it: &&crate::Extension| it.schema() == schema && schema != "public";
    match schema {
        SCHEMA => Some("the registry"),
        "information_schema" => Some("PostgreSQL"),
        _ if schema.starts_with("pg_") => Some("PostgreSQL"),
        _ if migrator.shared().is_some_and(|it| it.schema().as_str() == schema) => {
            Some("the tables that exist once")
        }
        _ if migrator.extensions().iter().any(|it| of_extensions(&it)) => {
            Some("the extensions of the application")
        }
        _ => None,
    }
}

/// Returns an error if a tenant has or had the schema.
async fn refuse_tenants(txn: &impl ConnectionTrait, schema: &str) -> Result<(), AdoptError> {
    let row = "SELECT slug, status = 'dropped' FROM registry.tenants WHERE schema = $1";
    let found = rows(txn, row, [schema.into()]).await?;
    let Some(row) = found.first() else { return Ok(()) };
    let (slug, dropped) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Err(AdoptError::OfTenant { schema: schema.to_owned(), slug, dropped })
}

/// The schema, except `public`, and its objects that belong to roles of which the current one is no
/// member.
async fn of_others(txn: &impl ConnectionTrait, schema: &str) -> Result<Vec<String>, DbErr> {
    let sql = "
        WITH owned (classid, objid, owner) AS (
            SELECT 'pg_catalog.pg_namespace'::regclass, oid, nspowner
            FROM pg_catalog.pg_namespace WHERE nspname = $1 AND nspname <> 'public'
            UNION ALL
            SELECT 'pg_catalog.pg_class'::regclass, c.oid, relowner FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
            WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            UNION ALL
            SELECT 'pg_catalog.pg_proc'::regclass, p.oid, proowner FROM pg_catalog.pg_proc p
            JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace WHERE nspname = $1
            UNION ALL
            SELECT 'pg_catalog.pg_type'::regclass, t.oid, typowner FROM pg_catalog.pg_type t
            JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace
            WHERE nspname = $1 AND typtype IN ('e', 'd', 'r')
        )
        SELECT format('%s of %s', pg_describe_object(classid, objid, 0), owner::regrole)
        FROM owned WHERE NOT pg_has_role(owner, 'USAGE')
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = owned.classid AND d.objid = owned.objid AND d.deptype = 'e')
        ORDER BY 1";
    column(txn, sql, [schema.into()]).await
}
