//! Connection pool with tenant affinity.
//!
//! Every tenant prefers one connection (by rendezvous hashing), on which its statements are prepared
//! and whose server process has cached its tables. Its statements run there, or on another
//! connection that has served it recently; any other connection is used only if waiting costs more.
//! So a busy tenant spreads over several connections, and a tenant that is rarely used takes up
//! memory in one server process only.
//!
//! Connections are shared fairly: a released connection goes to the waiting owner that holds the
//! fewest, and no owner holds more than its share ([`shares`]). [`scheduler`] has the rules.

mod affinity;
#[cfg(test)]
mod allocation_test;
mod checkout;
mod connect;
mod copy;
mod execute;
mod executor;
mod handle;
mod health;
mod idle_check;
mod load;
mod memory;
mod migration_transaction;
#[cfg(feature = "testing")]
mod mock_session;
mod options;
mod read_only;
mod recent_set;
mod request;
mod savepoints;
mod scheduler;
mod session;
mod session_settings;
mod shares;
mod slot;
mod slot_guard;
mod statement_admission;
mod statement_choice;
mod statement_shapes;
mod stream;
mod text_rows;
mod timeouts;
mod transaction;
mod write_access;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::DbErr;
use tenantry_migrate::connect::SessionOptions;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

pub use copy::{CopySink, CopySource};
pub use executor::Executor;
pub use handle::PoolHandle;
pub use transaction::Transaction;

pub(super) use memory::fitting_statements;
pub(super) use migration_transaction::MigrationTransaction;
pub(super) use options::PoolOptions;
#[cfg(feature = "metrics")]
pub(super) use scheduler::WAIT_SECONDS;
pub(super) use session_settings::{SessionSettings, milliseconds};
pub(super) use timeouts::{STALLED, bounded, no_answer, was_unsent};
pub(super) use write_access::{EXACT_TEXT, SessionState, WriteAccess};

use super::{owner::SchemaOwner, pooler::RoleSettings, tenant_state::TenantState};
use connect::{Connected, Connector, Sessions};
use handle::PoolUser;
use health::Health;
use scheduler::Scheduler;
use shares::Shares;
use slot::{ConnectionLimits, Generation, PooledConnection, Slot};

/// The connections of a process, except for those of the listener and of the registry's reader.
pub(super) struct TenantPool {
    slots: Box<[Slot]>,
    scheduler: Scheduler,
    connector: Connector,
    acquire_timeout: Duration,
    share: usize,
    health: Arc<Health>,
    /// Number of open connections.
    open: Arc<AtomicUsize>,
    /// Number of connections that were replaced because of their memory.
    replaced: AtomicU64,
    /// Bounds the number of closed connections that the server has not noticed yet.
    ending: Arc<Semaphore>,
    /// Runs the cleanup of connections.
    runtime: Handle,
    /// Creates and drops schemas.
    owner: SchemaOwner,
}

impl TenantPool {
    /// A pool whose connections are opened when they are first used.
    pub(super) fn new(connect: SessionOptions, options: &PoolOptions) -> Self {
        let count = options.max_connections;
        let slots = (0..count).map(|slot| {
            // Staggered, so that the connections do not reach it together. A pooler decides itself
            // how long a server process lives.
            let memory = options.connection_memory.filter(|_| !options.pooled);
            let memory = memory.map(|budget| budget - budget / 8 / count as u64 * slot as u64);
            Slot::new(ConnectionLimits {
                memory,
                lifetime: options.max_lifetime,
                statements: options.statement_cache,
                answer_timeout: timeouts::answer_timeout(options.statement_timeout),
            })
        });
        let slots = slots.collect();
        // A tenant has more than one statement.
        let recent_tenants = (options.statement_cache / 2).max(16);
        let shares = Shares::new(options);
        let scheduler = Scheduler::new(count, recent_tenants, shares, options.acquire_timeout);
        #[cfg(feature = "metrics")]
        let scheduler = scheduler.record_waits(connect.database());
        let settings = SessionSettings {
            extensions: Arc::clone(&options.extensions),
            statement_timeout: options.statement_timeout,
            idle_in_transaction_timeout: options.idle_in_transaction_timeout,
            plan_cache_mode: options.plan_cache_mode,
        };
        let sessions = match options.pooled {
            false => Sessions::Own(settings),
            true => Sessions::Pooled(RoleSettings::new(settings)),
        };
        let mut connector = Connector::new(connect, sessions, options.acquire_timeout);
        connector.use_literals(options.cold_statements);
        Self {
            slots,
            scheduler,
            connector,
            acquire_timeout: options.acquire_timeout,
            share: shares.most(count),
            health: Arc::default(),
            open: Arc::default(),
            replaced: AtomicU64::new(0),
            ending: Arc::new(Semaphore::new(count)),
            runtime: Handle::current(),
            owner: SchemaOwner::default(),
        }
    }

    /// The same, where schemas are created and dropped on the connections of another role.
    pub(super) fn with_owner(mut self, pool: Option<TenantPool>) -> Self {
        self.owner = SchemaOwner::new(pool);
        self
    }

    pub(super) fn owner(&self) -> &SchemaOwner {
        &self.owner
    }

    /// The same, where both pools replace their connections when the server of one has ceased to
    /// accept writes.
    pub(super) fn with_health_of(mut self, other: &Self) -> Self {
        self.health = Arc::clone(&other.health);
        self
    }

    /// Whether the connections lead through a pooler in transaction mode.
    pub(super) fn is_pooled(&self) -> bool {
        self.connector.is_pooled()
    }

    /// The same with sessions on SeaORM's mock.
    #[cfg(feature = "testing")]
    pub(super) fn on_mock(mut self, mock: sea_orm::DatabaseConnection) -> Self {
        self.connector.set_mock(mock);
        self
    }

    /// The pool as a tenant uses it.
    pub(super) fn of_tenant(self: &Arc<Self>, tenant: Arc<TenantState>) -> PoolHandle {
        PoolHandle::new(Arc::clone(self), PoolUser::Tenant(tenant))
    }

    /// The pool for work in all tenants, which shares the connections of one tenant.
    pub(super) fn in_background(self: &Arc<Self>, tenant: Arc<TenantState>) -> PoolHandle {
        PoolHandle::new(Arc::clone(self), PoolUser::Background(tenant))
    }

    /// The settings of the role, if the connections lead through a pooler.
    pub(super) fn role_settings(&self) -> Option<&RoleSettings> {
        self.connector.role_settings()
    }

    /// Maximum number of connections of one owner.
    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// The pool for shared tables.
    pub(super) fn shared(self: &Arc<Self>) -> PoolHandle {
        PoolHandle::new(Arc::clone(self), PoolUser::Shared)
    }

    /// The pool for queries of the registry.
    pub(super) fn registry(self: &Arc<Self>) -> PoolHandle {
        PoolHandle::new(Arc::clone(self), PoolUser::Registry)
    }

    /// The pool for creations, drops and spares.
    pub(super) fn lifecycle(self: &Arc<Self>) -> PoolHandle {
        PoolHandle::new(Arc::clone(self), PoolUser::Lifecycle)
    }

    /// Idle connections may be broken too: they are pinged before they are used.
    pub(super) fn suspect_all(&self) {
        self.health.suspect_all();
    }

    /// The server of a connection accepts no writes. If it did before, another server may be the
    /// primary now, so all connections are replaced.
    fn set_read_only(&self, connection: &mut PooledConnection) {
        if !std::mem::replace(&mut connection.read_only, true) {
            self.health.lost_primary(connection.generation);
        }
    }

    /// Changes when a server has ceased to accept writes. Connections outside the pool must be
    /// replaced then: they may be to the old primary, where nothing changes any more.
    pub(super) fn failover(&self) -> watch::Receiver<()> {
        self.health.failover()
    }

    fn generation(&self) -> Generation {
        self.health.generation()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.scheduler.is_closed()
    }

    /// Opens and closes a connection outside the pool. Returns whether the server accepts writes.
    pub(super) async fn test_connect(&self) -> Result<WriteAccess, DbErr> {
        let Connected { session, writes, .. } = self.connector.connect().await?;
        // An error does not matter: the server has closed it then.
        let _ = session.close().await;
        Ok(writes)
    }

    pub(super) fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    pub(super) fn session_options(&self) -> &SessionOptions {
        self.connector.options()
    }

    /// The name of the database.
    #[cfg(feature = "metrics")]
    pub(super) fn database(&self) -> &str {
        self.connector.options().database()
    }

    /// Closes every connection, after the statements in progress.
    pub(super) async fn close(&self) {
        self.scheduler.close().await;
        join_all(self.slots.iter().map(Slot::close)).await;
        if let Some(owner) = self.owner.pool() {
            Box::pin(owner.close()).await;
        }
    }
}

impl Drop for TenantPool {
    fn drop(&mut self) {
        for slot in std::mem::take(&mut self.slots) {
            if let Some(connection) = slot.take_idle() {
                self.runtime.spawn(connection.close());
            }
        }
    }
}
