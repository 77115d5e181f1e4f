//! Objects outside a schema that `DROP SCHEMA … CASCADE` drops with it.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    Error, Target,
    sql::query::{column, execute_batch, scalar},
};

/// Returns the objects outside a schema that depend on it, directly or indirectly, as PostgreSQL
/// describes them (`view report.sales`, `constraint sales_fkey on table report.sales`), sorted.
/// `DROP SCHEMA … CASCADE` drops them, too. Empty if the schema does not exist.
///
/// # Errors
/// The errors of the database.
pub async fn dependents(db: &impl ConnectionTrait, schema: &str) -> Result<Vec<String>, DbErr> {
    column(db, include_str!("dependents.sql"), [schema.into()]).await
}

/// Locks the tables of a schema that is about to be dropped, so that no other transaction can
/// create dependent objects between a call of [`dependents`] and the drop, which takes the same
/// locks. Skips tables that the role has no privilege to lock.
///
/// # Errors
/// The errors of the database.
pub async fn lock_tables(txn: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    // Without views: LOCK locks the tables that they read, too.
    let sql = "SELECT string_agg(format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY c.oid)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
         AND has_table_privilege(c.oid, 'TRUNCATE')";
    match scalar::<String>(txn, sql, [schema.into()]).await? {
        Some(tables) => {
            execute_batch(txn, &format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).await
        }
        None => Ok(()),
    }
}

/// Returns an error if objects outside the schema depend on it.
pub(crate) async fn ensure_no_dependents(
    db: &impl ConnectionTrait,
    target: &Target,
) -> Result<(), Error> {
    let dependents = dependents(db, target.name()).await?;
    if dependents.is_empty() {
        return Ok(());
    }
    Err(Error::HasDependents { schema: target.name().to_owned(), dependents })
}
