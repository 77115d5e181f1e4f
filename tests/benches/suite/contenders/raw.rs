//! What the server can do: tokio-postgres, whose connections are shared by all tasks and pipeline
//! their statements. A tenant is always on the same connection, so that no other server process
//! reads its catalog; only transactions may go elsewhere.

mod connection;
pub mod work;

use futures_util::future::join_all;

use super::job::{Named, Operation};
pub use connection::{Connection, Parameter, Statements, Turn};

pub struct Raw {
    connections: Vec<Connection>,
}

impl Raw {
    pub async fn connect(url: &str, connections: u32, statements: Statements) -> Self {
        let open = (0..connections).map(|_| Connection::open(url, statements));
        Self { connections: join_all(open).await }
    }

    /// The connection of a tenant.
    pub fn of(&self, tenant: &Named) -> &Connection {
        &self.connections[tenant.number % self.connections.len()]
    }

    /// The connection for a transaction, which excludes others: that of the tenant, unless many wait
    /// for it and fewer for another one.
    pub fn for_transaction(&self, tenant: &Named) -> &Connection {
        const MORE: usize = 2;
        let own = self.of(tenant);
        let fewest = self.connections.iter().min_by_key(|one| one.transactions());
        fewest.filter(|one| one.transactions() + MORE < own.transactions()).unwrap_or(own)
    }
}

/// Identifies a statement.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Number of the tenant.
    pub tenant: usize,
    pub operation: Operation,
}
