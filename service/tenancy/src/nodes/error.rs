use sea_orm::DbErr;
use tenantry_migrate::{NodeAddress, describe};
use tenantry_registry::{SchemaName, Slug};
use thiserror::Error;

/// Why a tenant is not placed or moved. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The database is one PostgreSQL server.
    #[error(
        "this database has no nodes: tenants are placed on nodes by Citus 12.1 or newer, with \
         citus.enable_schema_based_sharding on for the role that creates tenants"
    )]
    NoCluster,

    /// The cluster has no such node.
    #[error("node {node:?} not found; the cluster has {}", listed(nodes))]
    UnknownNode {
        /// What was given.
        node: String,
        /// The nodes.
        nodes: Vec<NodeAddress>,
    },

    /// The tenant's schema is on the coordinator, as an ordinary schema.
    #[error(
        "tenant {slug} is on no node: its schema was created without sharding, or has no tables. Run \
         SELECT citus_schema_distribute('{}') as the owner of the schema", schema.quoted()
    )]
    NotPlaced {
        /// The tenant.
        slug: Slug,
        /// Its schema.
        schema: SchemaName,
    },

    /// Tables have neither a primary key nor another replica identity, so their changes could not be
    /// sent to the new node while the tenant is in use.
    #[error(
        "tenant {slug} cannot be moved while it is in use: {} without a primary key; add one, or set \
         a REPLICA IDENTITY", tables.join(", ")
    )]
    NoKey {
        /// The tenant.
        slug: Slug,
        /// The tables.
        tables: Vec<String>,
    },

    /// The cluster has refused the move.
    #[error("tenant {slug} was not moved to {node}: {}", describe(source))]
    Refused {
        /// The tenant.
        slug: Slug,
        /// The node that it was to be moved to.
        node: NodeAddress,
        /// The reason.
        source: DbErr,
    },
}

fn listed(nodes: &[NodeAddress]) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(", ")
}
