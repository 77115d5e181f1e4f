//! Dropping a schema, at once or bit by bit.
//!
//! A dropped relation stays locked until the transaction ends, with its types and constraints, and
//! the lock table is shared by all sessions: with default settings it holds a few thousand locks.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tenantry_registry::SchemaName;

use crate::{Error, provision::execute_batch};

/// How many tables, views and sequences are dropped in one transaction. A table with a key, an
/// index and a text column takes ten locks; several such transactions fit beside each other.
const BATCH: i64 = 50;

/// Drops the schema of one tenant, with everything in it, in the caller's transaction. One that is
/// not there is dropped already.
///
/// # Errors
/// [`Error::Database`]; the lock table of the server may be too small for a schema of thousands of
/// [`relations`], which is what [`drop_relations`] is for.
pub async fn drop_schema(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<(), Error> {
    let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", schema.quoted());
    Ok(execute_batch(txn, &sql).await?)
}

/// How many tables, indexes, views and sequences a schema has.
///
/// # Errors
/// [`Error::Database`].
pub async fn relations(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<u64, Error> {
    let count = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT count(*) FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1",
        [schema.as_str().into()],
    );
    let row = txn.query_one_raw(count).await?;
    let count: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

/// Drops some of a schema's tables, views and sequences, as many as one transaction can on a
/// server with default settings, and what depends on them. False when there are none left that can
/// be dropped by themselves: [`drop_schema`] does the rest.
///
/// # Errors
/// [`Error::Database`].
pub async fn drop_relations(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<bool, Error> {
    // Views come before tables, and what was made last before what it may depend on, so that
    // CASCADE finds little to do. A table comes after its partitions, a sequence goes with the
    // column that owns it, and what belongs to an extension goes with the schema.
    let some = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT format('DROP %s %I.%I CASCADE', CASE c.relkind
             WHEN 'v' THEN 'VIEW IF EXISTS' WHEN 'm' THEN 'MATERIALIZED VIEW IF EXISTS'
             WHEN 'f' THEN 'FOREIGN TABLE IF EXISTS' WHEN 'S' THEN 'SEQUENCE IF EXISTS'
             ELSE 'TABLE IF EXISTS' END, n.nspname, c.relname)
         FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('v', 'm', 'r', 'p', 'f', 'S')
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
             AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
         ORDER BY c.relkind IN ('v', 'm') DESC, c.oid DESC LIMIT $2",
        [schema.as_str().into(), BATCH.into()],
    );
    let rows = txn.query_all_raw(some).await?;
    let drops =
        rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>()?;
    if drops.is_empty() {
        return Ok(false);
    }
    execute_batch(txn, &drops.join(";\n")).await?;
    Ok(true)
}
