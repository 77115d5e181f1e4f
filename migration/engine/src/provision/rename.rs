//! Giving a schema another name.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tenantry_registry::SchemaName;

use crate::{
    Error,
    provision::{execute_batch, map_duplicate_schema},
};

/// Statements that put the name `$2` in place of `$1` in the `search_path` that functions of the
/// schema have of their own.
const ROUTINES: &str = r#"
    SELECT format('ALTER ROUTINE %s SET search_path = %s', p.oid::regprocedure,
        (SELECT string_agg(quote_ident(CASE name WHEN $1 THEN $2 ELSE name END), ', ' ORDER BY place)
        FROM unnest(string_to_array(substr(setting, 13), ',')) WITH ORDINALITY e (part, place),
            btrim(part, ' "') name))
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid,
        unnest(p.proconfig) setting
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = to_regnamespace($2)
    AND d.classid = 'pg_catalog.pg_proc'::regclass
    AND setting LIKE 'search_path=%' AND strpos(setting, $1) > 0"#;

/// Renames a schema in the caller's transaction, in two round trips, or three if it has functions
/// with a `search_path` of their own.
///
/// Everything that refers to an object keeps referring to it, and functions that have the schema
/// in a `search_path` of their own get the new name there. Only other texts that contain the name
/// – the source of a function, say – keep the old one.
///
/// # Errors
/// [`Error::SchemaExists`] when there is a schema of the new name, [`Error::Database`] otherwise.
pub async fn rename_schema(
    txn: &impl ConnectionTrait,
    from: &SchemaName,
    to: &SchemaName,
) -> Result<(), Error> {
    let rename = format!("ALTER SCHEMA {} RENAME TO {}", from.quoted(), to.quoted());
    map_duplicate_schema(execute_batch(txn, &rename).await, to)?;
    // No block does it in one round trip: what a block does to the session is not known, so the
    // connection would be closed.
    let names = [from.as_str().into(), to.as_str().into()];
    let routines = Statement::from_sql_and_values(DbBackend::Postgres, ROUTINES, names);
    let rows = txn.query_all_raw(routines).await?;
    let alter =
        rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>()?;
    if alter.is_empty() {
        return Ok(());
    }
    Ok(execute_batch(txn, &alter.join(";\n")).await?)
}
