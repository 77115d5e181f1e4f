//! Dropping a schema in one transaction or in several.
//!
//! A dropped relation, its types and its constraints stay locked until the transaction ends. All
//! sessions share the lock table, which holds a few thousand locks with default settings.

use sea_orm::ConnectionTrait;
use tenantry_registry::SchemaName;

use crate::{
    Error,
    sql::query::{column, execute_batch, scalar},
};

/// Relations that are dropped in one transaction. A table with a key, an index and a text column
/// takes ten locks, so several such transactions fit into the lock table.
const BATCH: i64 = 50;

/// Drops the schema of one tenant and everything in it, in the caller's transaction. Succeeds if
/// the schema does not exist.
///
/// # Errors
/// [`Error::Database`]. The server's lock table may be too small for a schema with thousands of
/// [relations](count_relations); use [`drop_relations_batch`] first.
pub async fn drop_schema(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<(), Error> {
    let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", schema.quoted());
    Ok(execute_batch(txn, &sql).await?)
}

/// Counts the tables, indexes, views and sequences of a schema.
///
/// # Errors
/// [`Error::Database`].
pub async fn count_relations(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1";
    let count: Option<i64> = scalar(txn, sql, [schema.as_str().into()]).await?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

/// Drops some of a schema's tables, views and sequences, and what depends on them: as many as one
/// transaction can drop with default settings. Returns `false` if only relations are left that
/// [`drop_schema`] has to drop.
///
/// # Errors
/// [`Error::Database`].
pub async fn drop_relations_batch(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<bool, Error> {
    // Views before tables, and newer relations before older ones, so that CASCADE has little to
    // drop. A partitioned table after its partitions. Sequences are dropped with their columns, and
    // members of an extension with the schema.
    let sql = "SELECT format('DROP %s %I.%I CASCADE', CASE c.relkind
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
         ORDER BY c.relkind IN ('v', 'm') DESC, c.oid DESC LIMIT $2";
    let drops: Vec<String> = column(txn, sql, [schema.as_str().into(), BATCH.into()]).await?;
    if drops.is_empty() {
        return Ok(false);
    }
    execute_batch(txn, &drops.join(";\n")).await?;
    Ok(true)
}
