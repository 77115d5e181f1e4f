use std::{sync::Arc, time::Duration};

use crate::{PlanCacheMode, cold_statements::ColdStatements};

/// Options of the pool, as in [`Config`](crate::Config).
#[derive(Debug, Clone)]
pub(in super::super) struct PoolOptions {
    /// At least one.
    pub(in super::super) max_connections: usize,
    /// In percent.
    pub(in super::super) tenant_share: usize,
    pub(in super::super) reserved_connections: usize,
    pub(in super::super) max_waiting: usize,
    /// Of the server process of each connection, in bytes; `None` for no limit.
    pub(in super::super) connection_memory: Option<u64>,
    pub(in super::super) max_lifetime: Duration,
    pub(in super::super) statement_cache: usize,
    pub(in super::super) cold_statements: ColdStatements,
    pub(in super::super) acquire_timeout: Duration,
    pub(in super::super) statement_timeout: Option<Duration>,
    pub(in super::super) idle_in_transaction_timeout: Option<Duration>,
    pub(in super::super) plan_cache_mode: PlanCacheMode,
    /// The schemas of extensions as they are appended to a `search_path`, each after a comma.
    pub(in super::super) extensions: Arc<str>,
    /// Whether the connections lead through a pooler in transaction mode.
    pub(in super::super) pooled: bool,
}

/// For a pool without a server.
#[cfg(feature = "testing")]
impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            tenant_share: 100,
            reserved_connections: 0,
            max_waiting: 200,
            connection_memory: None,
            max_lifetime: Duration::MAX,
            statement_cache: 100,
            cold_statements: ColdStatements::default(),
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: None,
            idle_in_transaction_timeout: None,
            plan_cache_mode: PlanCacheMode::default(),
            extensions: Arc::from(""),
            pooled: false,
        }
    }
}

#[cfg(test)]
impl PoolOptions {
    pub(super) fn for_tests() -> Self {
        Self::from(&crate::Config::new("postgres://localhost", crate::test_migrator::Migrator))
    }
}
