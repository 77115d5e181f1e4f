//! Objects outside a schema that go when the schema is dropped with CASCADE.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::{Error, Target, provision::execute_batch};

/// How many objects an error names before the rest is only counted.
const NAMED: usize = 10;

/// The objects outside a schema that depend on it, however indirectly, in the words of PostgreSQL
/// (`view report.sales`, `constraint sales_fkey on table report.sales`), sorted: `DROP SCHEMA …
/// CASCADE` drops them too. None when the schema is not there.
///
/// # Errors
/// The errors of the database.
pub async fn dependents(db: &impl ConnectionTrait, schema: &str) -> Result<Vec<String>, DbErr> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        include_str!("dependents.sql"),
        [schema.into()],
    );
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Locks the tables of a schema that is about to be dropped, so that no other transaction can build
/// on them between a look at [`dependents`] and the drop, which would take the same locks. Tables
/// that the caller may not lock are left out.
///
/// # Errors
/// The errors of the database.
pub async fn lock_tables(txn: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    // Not views: LOCK takes the tables that they read with them.
    let tables = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT string_agg(format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY c.oid)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
         AND has_table_privilege(c.oid, 'TRUNCATE')",
        [schema.into()],
    );
    let row = txn.query_one_raw(tables).await?;
    let tables: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    match tables {
        Some(tables) => {
            execute_batch(txn, &format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).await
        }
        None => Ok(()),
    }
}

/// Refuses when objects outside the schema depend on it.
pub(crate) async fn confirm_no_dependents(
    db: &impl ConnectionTrait,
    target: &Target,
) -> Result<(), Error> {
    let dependents = dependents(db, target.name()).await?;
    if dependents.is_empty() {
        return Ok(());
    }
    Err(Error::HasDependents { schema: target.name().to_owned(), dependents })
}

/// The first of such objects, and how many more there are.
#[must_use]
pub fn name_dependents(dependents: &[String]) -> String {
    let named = dependents[..dependents.len().min(NAMED)].join(", ");
    match dependents.len() - dependents.len().min(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
