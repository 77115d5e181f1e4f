//! What the server can do: tokio-postgres, whose connections are shared by all tasks and pipeline
//! their statements. A tenant is always on the same connection, so that no other server process
//! reads its catalog.

mod connection;
pub mod work;

use futures_util::future::join_all;

use super::job::Named;
pub use connection::{Connection, Statements, Turn};

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
}

/// Identifies a statement: the number of the tenant and that of the statement's shape.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: usize,
    pub shape: usize,
}
