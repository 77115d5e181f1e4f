//! Renaming a schema.

use sea_orm::{ConnectionTrait, DbErr};
use tenantry_registry::SchemaName;

use super::map_duplicate_schema;
use crate::{
    Error,
    sql::query::{column, execute_batch},
};

/// `ALTER ROUTINE` statements that replace the name `$1` by `$2` in the `search_path` settings of the
/// schema's functions.
const ROUTINES: &str = r#"
    SELECT format('ALTER ROUTINE %s SET search_path = %s', p.oid::regprocedure,
        (SELECT string_agg(quote_ident(CASE name WHEN $1 THEN $2 ELSE name END), ', ' ORDER BY place)
        FROM unnest(string_to_array(
                -- A quoted name may contain a comma.
                replace(substr(setting, 13), '"' || replace($1, '"', '""') || '"', quote_ident($2)),
                ',')) WITH ORDINALITY e (part, place),
            btrim(part, ' "') name))
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid,
        unnest(p.proconfig) setting
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident($2))
    AND d.classid = 'pg_catalog.pg_proc'::regclass
    AND setting LIKE 'search_path=%' AND strpos(setting, replace($1, '"', '""')) > 0"#;

/// Renames a schema in the caller's transaction, in two round trips, or three if it has functions
/// with a `search_path` setting.
///
/// References to its objects stay valid, and functions with the schema in their `search_path`
/// setting get the new name. Other text that contains the name, such as the source of a function,
/// keeps the old one.
///
/// # Errors
/// [`Error::SchemaExists`] if there is a schema of the new name, [`Error::Database`] otherwise.
pub async fn rename_schema(
    txn: &impl ConnectionTrait,
    from: &SchemaName,
    to: &SchemaName,
) -> Result<(), Error> {
    let rename = format!("ALTER SCHEMA {} RENAME TO {}", from.quoted(), to.quoted());
    map_duplicate_schema(execute_batch(txn, &rename).await, to)?;
    Ok(rename_in_search_paths(txn, from.as_str(), to).await?)
}

/// Replaces the name of a schema in the `search_path` settings of the functions of schema `to`.
pub(crate) async fn rename_in_search_paths(
    txn: &impl ConnectionTrait,
    from: &str,
    to: &SchemaName,
) -> Result<(), DbErr> {
    // A DO block would save a round trip, but the pool closes a connection after a DO block,
    // because its effects on the session are unknown.
    let names = [from.into(), to.as_str().into()];
    let alter: Vec<String> = column(txn, ROUTINES, names).await?;
    if alter.is_empty() {
        return Ok(());
    }
    execute_batch(txn, &alter.join(";\n")).await
}
