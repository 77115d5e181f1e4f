//! Citus: an extension that places schemas on several nodes (schema-based sharding, Citus 12 or
//! newer).
//!
//! Everything that is asked here is in the coordinator's catalog. Sources: the documentation of
//! Citus, "Schema-based sharding" and "Citus Utility Functions", and its code on GitHub
//! (`citusdata/citus`), file names below.

use std::{collections::HashMap, fmt};

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use serde::Serialize;

use crate::{
    Error, Target,
    sql::query::{execute_batch, rows, scalar},
};

/// An SQL expression for whether the database has schema-based sharding. The table lists the schemas
/// on nodes (`sql/citus--11.3-1--12.0-1.sql`); every role may read it.
pub(crate) const IS_CITUS: &str = "to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL";

/// Returns whether the database is the coordinator of a Citus cluster with schema-based sharding.
///
/// # Errors
/// The errors of the database.
pub async fn is_citus(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    Ok(scalar(db, format!("SELECT {IS_CITUS}"), []).await? == Some(true))
}

/// A statement after which the transaction creates schemas on the coordinator, also if the role or
/// the database has `citus.enable_schema_based_sharding` on. Without Citus it sets nothing.
pub(crate) fn keep_local_sql() -> String {
    format!("SELECT set_config('citus.enable_schema_based_sharding', 'off', true) WHERE {IS_CITUS}")
}

/// Sends [`keep_local_sql`], before the schema of tables that exist once is created.
pub(crate) async fn keep_local(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    execute_batch(txn, &keep_local_sql()).await
}

/// Returns an error if the tables that exist once are on a node. Accepts a missing schema.
///
/// The registry must consist of tables of the coordinator: statements lock its rows, and join and
/// change several of its tables at once. Shared tables may be reference tables.
///
/// # Errors
/// [`Error::Distributed`], [`Error::Database`].
pub async fn confirm_local(db: &impl ConnectionTrait, target: &Target) -> Result<(), Error> {
    if !is_citus(db).await? {
        return Ok(());
    }
    // A table that Citus only knows has no distribution column and no colocation group
    // (`src/backend/distributed/metadata/metadata_cache.c`, `IsCitusTableTypeInternal`).
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_schema s WHERE s.schemaid = n.oid),
            EXISTS (SELECT FROM pg_catalog.pg_dist_partition p
                JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid
                WHERE c.relnamespace = n.oid AND (p.partmethod <> 'n' OR p.colocationid <> 0))
        FROM pg_catalog.pg_namespace n WHERE n.nspname = $1";
    let Some(row) = rows(db, sql, [target.name().into()]).await?.into_iter().next() else {
        return Ok(());
    };
    let (schema, tables): (bool, bool) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    match schema || tables && *target == Target::Registry {
        true => Err(Error::Distributed { schema: target.name().to_owned() }),
        false => Ok(()),
    }
}

/// Address of a node, as the cluster knows it (`nodename` and `nodeport` in `pg_dist_node`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeAddress {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Returns the nodes of these schemas, by schema. Schemas that are not on a node, and those without
/// tables, are missing. No node is asked, so the answer also comes when one is down.
///
/// The tables of a schema are one colocation group, so they are on one node
/// (`commands/schema_based_sharding.c`); the view `citus_shards` joins the same tables.
///
/// # Errors
/// The errors of the database, such as a missing table without Citus.
pub async fn nodes_of(
    db: &impl ConnectionTrait,
    schemas: Vec<String>,
) -> Result<HashMap<String, NodeAddress>, DbErr> {
    let sql = "SELECT DISTINCT n.nspname::text, d.nodename::text, d.nodeport::integer
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_dist_schema g ON g.schemaid = n.oid
        JOIN pg_catalog.pg_dist_partition p ON p.colocationid = g.colocationid
        JOIN pg_catalog.pg_dist_shard s ON s.logicalrelid = p.logicalrelid
        JOIN pg_catalog.pg_dist_placement l ON l.shardid = s.shardid
        JOIN pg_catalog.pg_dist_node d ON d.groupid = l.groupid AND d.noderole = 'primary'
        WHERE n.nspname = ANY ($1)";
    let rows = rows(db, sql, [schemas.into()]).await?;
    let nodes = rows.iter().map(|row| Ok((row.try_get_by_index(0)?, address(row, 1)?)));
    nodes.collect()
}

/// The address in two columns of a row.
fn address(row: &QueryResult, index: usize) -> Result<NodeAddress, DbErr> {
    let port: i32 = row.try_get_by_index(index + 1)?;
    let port = u16::try_from(port).map_err(|error| DbErr::Type(error.to_string()))?;
    Ok(NodeAddress { host: row.try_get_by_index(index)?, port })
}
