//! The connections that statements of tenants are sent on.
//!
//! Every tenant prefers one of them (rendezvous hashing: the one with the highest score of tenant
//! and connection), where its statements are prepared and the server process has its tables in its
//! caches. It is served there, or by another connection that has served it recently; one that has
//! not is taken when the preferred one is not free within a moment. So a tenant in demand soon uses
//! several connections, and tenants that come rarely are not cached in all server processes, which
//! costs more than the moment, and memory in every process.
//!
//! Connections are shared fairly: the next free one goes to the waiting tenant that holds the
//! fewest, and no tenant holds more than its share ([`shares`]). [`queue`] has the rules.

mod affinity;
#[cfg(test)]
mod allocation_test;
mod checkout;
mod connect;
mod execute;
mod handle;
mod idle_check;
mod request;
mod savepoints;
mod scheduler;
mod seen;
mod session;
mod session_settings;
mod shares;
mod slot;
mod slot_guard;
mod stream;
mod timeouts;
mod transaction;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::{
    DbErr,
    sqlx::{Connection, postgres::PgConnectOptions},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    time::timeout,
};
use tracing::warn;

pub(super) use connect::Writes;
pub use handle::Lane;
pub use session::Session;
pub use transaction::Transaction;

pub(super) use timeouts::{bounded, was_unsent};

use super::{Config, Error, tenant_state::TenantState};
use connect::Opener;
use handle::User;
use scheduler::Queue;
use session_settings::Settings;
use shares::Shares;
use slot::{Age, Limits, Pinned, Place};

/// For what is asked before the service starts.
const FIRST: Duration = Duration::from_secs(10);

/// All connections of a process but the one for announcements.
pub(super) struct Lanes {
    places: Box<[Place]>,
    queue: Queue,
    opener: Opener,
    /// How long a connection is waited for.
    patience: Duration,
    /// How often connections were found to have ended without our doing. What was parked before
    /// the last time is tried before it is used.
    doubts: AtomicU64,
    /// How often a server has ceased to accept writes. Connections to the one before are replaced.
    primary: AtomicU64,
    /// Tells those who keep connections of their own.
    failover: watch::Sender<()>,
    /// How many connections are open.
    open: Arc<AtomicUsize>,
    /// Bounds how many more there are that the server has not noticed to be closed.
    ending: Arc<Semaphore>,
    /// Where what is left to be done on a connection is done.
    runtime: Handle,
}

impl Lanes {
    pub(super) async fn connect(config: &Config) -> Result<Arc<Self>, Error> {
        let mut options = tenantry_migrate::connect::options(&config.url)?;
        let capacity = config.statement_cache;
        options
            .max_connections(1)
            .acquire_timeout(config.acquire_timeout)
            .sqlx_logging_level(tracing::log::LevelFilter::Debug)
            .map_sqlx_postgres_opts(move |options| options.statement_cache_capacity(capacity));
        // Says why, if there is no connection. The places open theirs when they are first used.
        let first = tenantry_migrate::connect::open_own(options).await?;
        let options = (*first.get_postgres_connection_pool().connect_options()).clone();
        let lanes = Self::new(options, config);
        let (connection, writes) = lanes.opener.open().await?;
        drop(connection);
        if writes != Writes::Accepted {
            return Err(Error::ReadOnlyServer { standby: writes == Writes::Standby });
        }
        let checked = timeout(FIRST, super::check_registry(&first, &config.migrator)).await;
        checked.unwrap_or_else(|_| Err(timeouts::no_answer(FIRST).into()))?;
        first.close().await?;
        Ok(Arc::new(lanes))
    }

    /// With connections of these options, none of which is open yet.
    pub(super) fn new(options: PgConnectOptions, config: &Config) -> Self {
        let count = config.max_connections.max(1) as usize;
        let places = (0..count).map(|place| {
            // Not all are worn at once: the last one after three quarters of it.
            let early = config.recycle_after as usize / 4 * place / count;
            let tenants = config.recycle_after - u32::try_from(early).unwrap_or(0);
            let (time, statements) = (config.max_lifetime, config.statement_cache);
            let answer = timeouts::answer(config.statement_timeout);
            Place::new(Limits { tenants, time, statements, answer })
        });
        let places = places.collect();
        // Tenants have more than one statement.
        let known = (config.statement_cache / 4).max(16);
        let queue = Queue::new(count, known, Shares::new(config), config.acquire_timeout);
        let settings = Settings {
            extensions: config.migrator.extension_path().into(),
            statement_timeout: config.statement_timeout,
            idle_in_transaction_timeout: config.idle_in_transaction_timeout,
        };
        Self {
            places,
            queue,
            opener: Opener::new(options, settings, config.acquire_timeout),
            patience: config.acquire_timeout,
            doubts: AtomicU64::new(0),
            primary: AtomicU64::new(0),
            failover: watch::Sender::new(()),
            open: Arc::default(),
            ending: Arc::new(Semaphore::new(count)),
            runtime: Handle::current(),
        }
    }

    /// The connections for a tenant.
    pub(super) fn of(self: &Arc<Self>, tenant: Arc<TenantState>) -> Lane {
        Lane::new(Arc::clone(self), User::Tenant(tenant))
    }

    /// The connections for look-ups in the registry.
    pub(super) fn registry(self: &Arc<Self>) -> Lane {
        Lane::new(Arc::clone(self), User::Registry)
    }

    /// The connections for creations, drops and spares.
    pub(super) fn lifecycle(self: &Arc<Self>) -> Lane {
        Lane::new(Arc::clone(self), User::Lifecycle)
    }

    /// Parked connections may have ended too: from now on they are tried before they are used.
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    /// The server of a connection takes no writes: if it did before, another one may have become
    /// the primary, so all connections are replaced.
    fn demote(&self, pinned: &mut Pinned) {
        if !std::mem::replace(&mut pinned.read_only, true) {
            let Age { primary, .. } = pinned.age;
            let order = Ordering::Relaxed;
            if self.primary.compare_exchange(primary, primary + 1, order, order).is_ok() {
                self.failover.send_replace(());
                warn!("the database server accepts no writes; all connections are replaced");
            }
        }
    }

    /// Changes when a server has ceased to accept writes. A connection that is kept outside of the
    /// places, whatever for, must then be replaced: it may be to the old primary, where nothing
    /// changes any more.
    pub(super) fn failover(&self) -> watch::Receiver<()> {
        self.failover.subscribe()
    }

    fn age(&self) -> Age {
        let (doubts, primary) = (&self.doubts, &self.primary);
        Age { doubts: doubts.load(Ordering::Relaxed), primary: primary.load(Ordering::Relaxed) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Opens one connection more, and closes it.
    pub(super) async fn try_opening(&self) -> Result<(), DbErr> {
        let (connection, _) = self.opener.open().await?;
        // Whether it is closed in good order matters to nobody.
        let _ = connection.close().await;
        Ok(())
    }

    /// How long a connection is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// With what options connections are opened.
    pub(super) fn options(&self) -> &PgConnectOptions {
        self.opener.options()
    }

    /// Closes every connection, after what is under way.
    pub(super) async fn close(&self) {
        self.queue.close().await;
        join_all(self.places.iter().map(Place::close)).await;
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // In good order where there is still somebody to do it.
        for place in std::mem::take(&mut self.places) {
            if let Some(pinned) = place.unpark() {
                self.runtime.spawn(pinned.retire());
            }
        }
    }
}
