//! The connection that receives notifications. It is used for nothing else, so that they are
//! handled at once.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use sea_orm::sqlx::{
    self, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tenantry_migrate::connect::held_back;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use tenantry_registry::notify::{CHANNEL, Notification, schema_of_key};

use super::{
    freshness::{Freshness, TICK, now},
    pool::TenantPool,
    registry_view::RegistryView,
};

/// How often a heartbeat is sent.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);

/// How long a heartbeat may take to return after it was sent.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// The same for the first heartbeat, as the machine may be very busy.
const FIRST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a reconnection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two attempts to reconnect.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Receives notifications and updates the view of the registry.
pub(super) struct Listener {
    connection: Subscription,
    /// Distinguishes the heartbeats of this process from those of others.
    process: String,
    /// Weak, so that the listener ends with the last user of the view.
    view: Weak<RegistryView>,
    pool: Arc<TenantPool>,
}

/// The heartbeat in flight.
enum Heartbeat {
    None,
    /// It has not been sent yet.
    Waiting(oneshot::Receiver<()>),
    /// It has to return by then.
    Sent(Instant),
}

/// Why the listener has to reconnect.
enum Lost {
    Closed(Option<sqlx::Error>),
    Silent,
    /// The old primary sends no more notifications.
    Failover,
}

impl Listener {
    pub(super) async fn connect(
        pool: &Arc<TenantPool>,
        view: &Arc<RegistryView>,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            connection: subscribe(pool, pool.acquire_timeout()).await?,
            process: Uuid::now_v7().to_string(),
            view: Arc::downgrade(view),
            pool: Arc::clone(pool),
        })
    }

    /// Whether a heartbeat returns.
    pub(super) async fn is_receiving(&mut self, view: &RegistryView) -> bool {
        // Kept until the heartbeat is sent.
        let _sent = view.send_heartbeat(Notification::heartbeat(&self.process, now()));
        let back = async {
            while let Ok(Some(notification)) = self.connection.listener.try_recv().await {
                if self.handle(notification.payload()) {
                    return true;
                }
            }
            false
        };
        timeout(FIRST_HEARTBEAT_TIMEOUT, back).await.unwrap_or_default()
    }

    /// Receives until the view is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let Some(lost) = self.receive().await else { return };
            let Some(view) = self.view.upgrade() else { return };
            if self.pool.is_closed() {
                return;
            }
            view.freshness.lost();
            warn!(
                %lost,
                "notifications are not received; reconnecting. Until then cached tenants are checked \
                 against the registry every second"
            );
            // That connection may be to another server, or broken as well.
            view.reopen();
            drop(view);
            // Other connections may be broken for the same reason.
            self.pool.suspect_all();
            self.connection = loop {
                match subscribe(&self.pool, CONNECT_TIMEOUT).await {
                    Ok(connection) => break connection,
                    Err(error) => warn!(%error, "the listener cannot connect; retrying"),
                }
                if self.view.strong_count() == 0 || self.pool.is_closed() {
                    return;
                }
                sleep(RETRY_PAUSE).await;
            };
            // Notifications may have been missed.
            let Some(view) = self.view.upgrade() else { return };
            view.freshness.all_changed();
            view.entries_changed.send_replace(());
            info!("notifications are received again");
            // In a task, since it may wait for a connection.
            let db = self.pool.registry();
            tokio::spawn(async move {
                if let Err(error) = view.schemas.load(&db).await {
                    warn!(%error, "the schemas of new tenants could not be read");
                }
            });
        }
    }

    /// Receives until the connection is lost. Returns `None` if the view was dropped.
    async fn receive(&mut self) -> Option<Lost> {
        let mut heartbeat = Heartbeat::None;
        let mut failover = self.pool.failover();
        let mut clock = interval(HEARTBEAT_PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Notifications that have arrived precede the timeout.
                biased;
                received = self.connection.listener.try_recv() => match received {
                    Ok(Some(notification)) => {
                        if self.handle(notification.payload()) {
                            heartbeat = Heartbeat::None;
                        }
                    }
                    Ok(None) => return Some(Lost::Closed(None)),
                    Err(error) => return Some(Lost::Closed(Some(error))),
                },
                _ = failover.changed() => return Some(Lost::Failover),
                next = heartbeat.next() => match next {
                    Some(next) => heartbeat = next,
                    None => return Some(Lost::Silent),
                },
                _ = clock.tick() => {
                    let view = self.view.upgrade()?;
                    if let Heartbeat::None = heartbeat {
                        let payload = Notification::heartbeat(&self.process, now());
                        heartbeat = Heartbeat::Waiting(view.send_heartbeat(payload));
                    }
                }
            }
        }
    }

    /// Handles a notification. Returns whether it is a heartbeat of this process.
    fn handle(&self, payload: &str) -> bool {
        let Some(view) = self.view.upgrade() else { return false };
        match Notification::parse(payload) {
            Notification::Heartbeat { process, at } => {
                let own = process == self.process;
                if own {
                    view.freshness.received(at);
                }
                own
            }
            Notification::Changed { id, keys } => {
                view.entries_changed.send_replace(());
                id.into_iter().for_each(|id| view.freshness.changed(Freshness::slot(id)));
                for key in keys {
                    match schema_of_key(key) {
                        Some(schema) => view.schemas.add(&schema),
                        None => view.freshness.changed(Freshness::slot(key)),
                    }
                }
                false
            }
        }
    }
}

impl Heartbeat {
    /// The next state unless the heartbeat returns; `None` if it is overdue.
    async fn next(&mut self) -> Option<Self> {
        match self {
            Self::None => std::future::pending().await,
            Self::Waiting(sent) => match sent.await {
                Ok(()) => Some(Self::Sent(Instant::now() + HEARTBEAT_TIMEOUT)),
                // It could not be sent.
                Err(_) => Some(Self::None),
            },
            Self::Sent(deadline) => {
                sleep_until(*deadline).await;
                None
            }
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(None) => f.write_str("the connection was closed"),
            Self::Closed(Some(error)) => error.fmt(f),
            Self::Failover => f.write_str("the server no longer accepts writes"),
            Self::Silent => write!(
                f,
                "a notification of this process did not return within {} seconds",
                HEARTBEAT_TIMEOUT.as_secs()
            ),
        }
    }
}

/// A connection that listens, in a pool of one, which the driver requires.
struct Subscription {
    single: PgPool,
    listener: PgListener,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Closed before the connection is returned to it: the pool would ping the connection, and
        // warn if the server is stopping.
        drop(self.single.close());
    }
}

/// Starts to listen.
async fn subscribe(pool: &TenantPool, within: Duration) -> Result<Subscription, sqlx::Error> {
    let subscribed = async {
        let single = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(pool.session_options().for_background().driver().clone())
            .await?;
        let mut listener = PgListener::connect_with(&single).await?;
        // Notifications between two connections are lost, which the caller has to handle.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Subscription { single, listener })
    };
    timeout(within, subscribed).await.unwrap_or_else(|_| Err(held_back(within)))
}

/// Detects pauses of the process until the view is dropped.
pub(super) async fn watch_clock(view: Weak<RegistryView>) {
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let Some(view) = view.upgrade() else { return };
        view.freshness.tick();
    }
}
