//! Moving a tenant to another node.
//!
//! `citus_schema_move` copies the tables by logical replication while they are in use, and switches
//! to the copy in the end (`operations/shard_transfer.c` in the source of Citus). Until then it
//! holds `SHARE UPDATE EXCLUSIVE` locks on the tables, so migrations and drops of the tenant wait or
//! fail. The registry's row is not locked meanwhile: creating a replication slot waits for all
//! transactions of the node with an id, and on the coordinator a lock on the row would be in one.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde::Serialize;
use serde_json::json;
use tenantry_migrate::NodeAddress;
use tenantry_registry::{
    SchemaName, Slug,
    audit::{self, Action},
    notify::entry_inserted,
};
use tokio::time::sleep;
use tracing::{debug, info};

use super::{NodeError, NodeInfo};
use crate::{DbErrorKind, Error, Tenancy, TenantInfo, pool::Transaction};

/// How often the progress is asked for.
const PERIOD: Duration = Duration::from_secs(1);

/// For the locks at the beginning, and those of the switch: until it is over, other statements that
/// write to the tenant wait behind it.
const SET_LOCK_TIMEOUT: &str = "SELECT set_config('lock_timeout', '10s', true)";

/// Tables whose changes cannot be replicated, by the rule of Citus
/// (`RelationCanPublishAllModifications` in `operations/shard_transfer.c`).
const WITHOUT_KEY: &str = "SELECT c.relname::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
        AND i.indimmediate AND CASE c.relreplident WHEN 'd' THEN i.indisprimary
            WHEN 'i' THEN i.indisreplident ELSE false END)
    ORDER BY 1";

const PROGRESS: &str = "SELECT coalesce(sum(p.target_shard_size), 0)::bigint,
        coalesce(sum(p.source_shard_size), 0)::bigint
    FROM pg_catalog.get_rebalance_progress() p
    JOIN pg_catalog.pg_class c ON c.oid = p.table_name::oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1";

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveProgress {
    /// Bytes of the tables on the new node.
    pub copied: u64,
    /// Bytes of the tables on the old node, with their indexes.
    pub total: u64,
}

/// A tenant that was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Its entry.
    #[serde(flatten)]
    pub tenant: TenantInfo,
    /// The node that it was on.
    pub from: NodeAddress,
    /// The node that it is on.
    pub node: NodeAddress,
    /// Whether it was moved. Otherwise it was there already.
    pub moved: bool,
}

impl Tenancy {
    /// Moves a tenant to another node of the Citus cluster while it is in use. Its handles go on;
    /// statements that write wait while the cluster switches to the copy, usually for less than a
    /// second. `node` is the host of a node, or `host:port`.
    ///
    /// `on_progress` is called about once a second and must not block. The tenant's migrations
    /// wait or fail meanwhile. If the future is dropped, the server ends the move. A repeated
    /// request changes nothing.
    ///
    /// A move takes as long as copying the data, six hours at most. A transaction that uses the
    /// tenant's tables for more than 10 seconds at the beginning or at the end makes it fail; nothing
    /// is changed then.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// let moved = tenancy.move_tenant(&"acme".parse()?, "worker-2", |_| {}).await?;
    /// println!("{} → {}", moved.from, moved.node);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`];
    /// - [`Error::Node`]: [`NodeError::NoCluster`], [`NodeError::UnknownNode`],
    ///   [`NodeError::NotPlaced`], [`NodeError::NoKey`] if a table has neither a primary key nor
    ///   another replica identity, [`NodeError::Refused`] with the reason of Citus;
    /// - [`Error::Owner`] if this program cannot act as the owner of schemas.
    pub async fn move_tenant(
        &self,
        slug: &Slug,
        node: &str,
        on_progress: impl Fn(MoveProgress),
    ) -> Result<Moved, Error> {
        let nodes = self.nodes().await?;
        let tenant = self.get(slug).await?.ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
        let node = find(&nodes, node)?;
        let schema = &tenant.schema;
        let from = self.placement([schema]).await?.remove(schema.as_str());
        let Some(from) = from else {
            let (slug, schema) = (slug.clone(), schema.clone());
            return Err(NodeError::NotPlaced { slug, schema }.into());
        };
        if from == node {
            return Ok(Moved { tenant, from, node, moved: false });
        }
        let tables = self.without_key(schema).await?;
        if !tables.is_empty() {
            return Err(NodeError::NoKey { slug: slug.clone(), tables }.into());
        }
        tokio::select! {
            moved = self.move_now(&tenant, &from, &node) => moved?,
            () = self.watch(schema, on_progress) => {}
        }
        info!(tenant = %slug, %from, to = %node, "tenant moved");
        Ok(Moved { tenant, from, node, moved: true })
    }

    /// The move, and its entry in the audit log.
    async fn move_now(
        &self,
        tenant: &TenantInfo,
        from: &NodeAddress,
        node: &NodeAddress,
    ) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin_for_copy().await?;
        query(&txn, SET_LOCK_TIMEOUT, []).await?;
        let sql = "SELECT pg_catalog.citus_schema_move($1::text::regnamespace, $2, $3)";
        let values =
            [tenant.schema.quoted().into(), node.host.clone().into(), i32::from(node.port).into()];
        if let Err(source) = query(&txn, sql, values).await {
            // The tables are locked, so the rollback is awaited.
            txn.rollback().await?;
            return Err(match is_refusal(&source) {
                true => {
                    NodeError::Refused { slug: tenant.slug.clone(), node: node.clone(), source }
                        .into()
                }
                false => source.into(),
            });
        }
        let entry = self.entry(Action::Moved).tenant(tenant.id, Some(tenant.slug.clone()));
        let entry = entry
            .before(json!({ "node": from.to_string() }))
            .after(json!({ "node": node.to_string() }));
        audit::record(&txn, entry, entry_inserted()).await?;
        Ok(txn.commit().await?)
    }

    async fn without_key(&self, schema: &SchemaName) -> Result<Vec<String>, DbErr> {
        let values = [schema.as_str().into()];
        let query = Statement::from_sql_and_values(DbBackend::Postgres, WITHOUT_KEY, values);
        let rows = self.inner.db.query_all_raw(query).await?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    }

    /// Reports the progress until it is dropped.
    async fn watch(&self, schema: &SchemaName, on_progress: impl Fn(MoveProgress)) {
        loop {
            sleep(PERIOD).await;
            match self.progress(schema).await {
                Ok(Some(progress)) => on_progress(progress),
                Ok(None) => {}
                Err(error) => debug!(%error, "the progress of a move is not known"),
            }
        }
    }

    async fn progress(&self, schema: &SchemaName) -> Result<Option<MoveProgress>, DbErr> {
        let values = [schema.as_str().into()];
        let query = Statement::from_sql_and_values(DbBackend::Postgres, PROGRESS, values);
        let Some(row) = self.inner.db.query_one_raw(query).await? else { return Ok(None) };
        let [copied, total]: [i64; 2] = [row.try_get_by_index(0)?, row.try_get_by_index(1)?];
        let progress = MoveProgress { copied: copied.unsigned_abs(), total: total.unsigned_abs() };
        Ok((total > 0).then_some(progress))
    }
}

/// The node with this host, if it is the only one, or with this host and port.
fn find(nodes: &[NodeInfo], wanted: &str) -> Result<NodeAddress, NodeError> {
    let addresses = || nodes.iter().map(|node| &node.address);
    let mut named = addresses().filter(|it| it.host == wanted);
    let exact = addresses().find(|it| it.to_string() == wanted);
    match (exact, named.next(), named.next()) {
        (Some(node), _, _) | (None, Some(node), None) => Ok(node.clone()),
        _ => Err(NodeError::UnknownNode {
            node: wanted.to_owned(),
            nodes: addresses().cloned().collect(),
        }),
    }
}

/// Whether Citus has refused the move. Most of its refusals have no code of their own (XX000);
/// others are 0A000 and 55000.
fn is_refusal(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error)
        .is_some_and(|code| ["XX000", "0A000", "55000"].contains(&code.as_str()))
}

async fn query<const N: usize>(
    txn: &Transaction,
    sql: &str,
    values: [sea_orm::Value; N],
) -> Result<(), DbErr> {
    txn.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_several_nodes_needs_the_port() {
        let node = |host: &str, port| NodeInfo {
            address: NodeAddress { host: host.to_owned(), port },
            coordinator: false,
            takes_tenants: true,
            tenants: 0,
            bytes: None,
            busy: None,
        };
        let nodes = [node("a", 1), node("a", 2), node("b", 1)];
        let found = |wanted| find(&nodes, wanted).map(|node| node.to_string()).ok();
        assert_eq!(found("a:2").as_deref(), Some("a:2"));
        assert_eq!(found("b").as_deref(), Some("b:1"));
        assert_eq!((found("a"), found("a:3"), found("")), (None, None, None));
        let error = find(&nodes, "a").unwrap_err().to_string();
        assert!(error.contains("\"a\" not found") && error.contains("a:1, a:2, b:1"), "{error}");
    }
}
