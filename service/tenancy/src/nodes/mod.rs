//! Nodes of a Citus cluster: which tenants are where, and moving a tenant.
//!
//! Sources: the documentation of Citus, "Citus Tables and Views" (`citus_shards`, `pg_dist_node`,
//! `citus_stat_activity`), "Citus Utility Functions" (`citus_schema_move`, `get_rebalance_progress`).

mod error;
mod moves;

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};
use serde::Serialize;
use tenantry_migrate::{NodeAddress, is_citus, nodes_of};
use tenantry_registry::SchemaName;

use super::{Error, Tenancy, TenantInfo};
pub use error::NodeError;
pub use moves::{MoveProgress, Moved};

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeInfo {
    /// Its address.
    #[serde(flatten)]
    pub address: NodeAddress,
    /// Whether it is the coordinator, which this program is connected to.
    pub coordinator: bool,
    /// Whether new tenants may be placed on it.
    pub takes_tenants: bool,
    /// Number of tenants on it, without spares.
    pub tenants: u64,
    /// Size of the tables of its tenants and spares with their indexes; `None` if it has none, or if
    /// it cannot be reached.
    pub bytes: Option<u64>,
    /// Number of statements that it is executing for tenants of this database; `None` if it cannot
    /// be reached.
    pub busy: Option<u64>,
}

/// A tenant's entry with its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacedTenant {
    /// The entry.
    #[serde(flatten)]
    pub tenant: TenantInfo,
    /// The node with its tables; `None` if they are on the coordinator as an ordinary schema.
    pub node: Option<NodeAddress>,
}

/// `pg_dist_node` lists the nodes, `citus_shards` the tables on them, with sizes that the nodes are
/// asked for. A node that cannot be reached is listed without figures. The view of the sessions asks
/// all nodes in sessions of its own (`citus_run_command`), which do not count.
const NODES: &str = "
    SELECT d.nodename::text AS host, d.nodeport::integer AS port, d.groupid = 0 AS coordinator,
        d.isactive AND d.shouldhaveshards AS takes_tenants,
        coalesce(placed.tenants, 0) AS tenants, placed.bytes, work.busy
    FROM pg_catalog.pg_dist_node d
    LEFT JOIN (
        SELECT s.nodename, s.nodeport, sum(s.shard_size)::bigint AS bytes,
            count(DISTINCT t.id) FILTER (WHERE t.status <> 'spare') AS tenants
        FROM pg_catalog.citus_shards s
        JOIN pg_catalog.pg_class c ON c.oid = s.table_name::oid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN registry.tenants t ON t.schema = n.nspname AND t.status <> 'dropped'
        WHERE s.citus_table_type = 'schema' GROUP BY s.nodename, s.nodeport
    ) placed ON placed.nodename = d.nodename AND placed.nodeport = d.nodeport
    LEFT JOIN (
        SELECT a.nodeid, count(*) FILTER (WHERE a.state = 'active' AND a.is_worker_query) AS busy
        FROM pg_catalog.citus_stat_activity a WHERE a.datname = current_database()
        AND a.application_name NOT LIKE 'citus_run_command%' GROUP BY a.nodeid
    ) work ON work.nodeid = d.nodeid
    WHERE d.noderole = 'primary' ORDER BY d.groupid, d.nodeid";

#[derive(FromQueryResult)]
struct Row {
    host: String,
    port: i32,
    coordinator: bool,
    takes_tenants: bool,
    tenants: i64,
    bytes: Option<i64>,
    busy: Option<i64>,
}

impl Tenancy {
    /// Returns the nodes of the Citus cluster, the coordinator first, in one query.
    ///
    /// # Errors
    /// [`NodeError::NoCluster`] on a single PostgreSQL server.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        self.require_cluster().await?;
        let query = Statement::from_string(DbBackend::Postgres, NODES);
        let rows = self.inner.db.query_all_raw(query).await?;
        let nodes = rows.iter().map(|row| {
            let Row { host, port, coordinator, takes_tenants, tenants, bytes, busy } =
                Row::from_query_result(row, "")?;
            let address = NodeAddress { host, port: u16::try_from(port).unwrap_or_default() };
            let [bytes, busy] = [bytes, busy].map(|it| it.map(i64::unsigned_abs));
            let tenants = tenants.unsigned_abs();
            Ok(NodeInfo { address, coordinator, takes_tenants, tenants, bytes, busy })
        });
        nodes.collect()
    }

    /// Returns the nodes of these schemas, in one query that asks no node. Schemas that are on none
    /// are missing.
    ///
    /// # Errors
    /// [`NodeError::NoCluster`] on a single PostgreSQL server.
    pub async fn placement(
        &self,
        schemas: impl IntoIterator<Item = &SchemaName>,
    ) -> Result<HashMap<String, NodeAddress>, Error> {
        self.require_cluster().await?;
        let schemas = schemas.into_iter().map(ToString::to_string).collect();
        Ok(nodes_of(&self.inner.db, schemas).await?)
    }

    /// Adds the nodes to these entries, as [`placement`](Self::placement) does.
    ///
    /// # Errors
    /// As for [`placement`](Self::placement).
    pub async fn with_nodes(&self, tenants: Vec<TenantInfo>) -> Result<Vec<PlacedTenant>, Error> {
        let mut nodes = self.placement(tenants.iter().map(|tenant| &tenant.schema)).await?;
        let place = |tenant: TenantInfo| {
            let node = nodes.remove(tenant.schema.as_str());
            PlacedTenant { tenant, node }
        };
        Ok(tenants.into_iter().map(place).collect())
    }

    async fn require_cluster(&self) -> Result<(), Error> {
        match is_citus(&self.inner.db).await? {
            true => Ok(()),
            false => Err(NodeError::NoCluster.into()),
        }
    }
}
