//! The connection on which announcements are received. Nothing else is sent on it, so what arrives
//! is handled at once, whatever other connections wait for.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use sea_orm::sqlx::{
    self,
    postgres::{PgListener, PgPoolOptions},
};
use tenantry_migrate::connect::held_back;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use tenantry_registry::notify::{CHANNEL, Notification, SCHEMA_MARK};

use super::{
    freshness::{Freshness, TICK, now},
    pool::TenantPool,
    registry_view::RegistryView,
};

/// How often a heartbeat is sent.
const PERIOD: Duration = Duration::from_secs(2);

/// How long a heartbeat may take to come back, from when it was sent.
const RETURNS_WITHIN: Duration = Duration::from_secs(2);

/// How long the first heartbeat may take: the machine may be very busy.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// How long opening another connection may take.
const OPENED_WITHIN: Duration = Duration::from_secs(2);

/// Pause between two attempts to open a connection.
const RETRY: Duration = Duration::from_secs(1);

/// Receives announcements, and hands on what they say.
pub(super) struct Listener {
    connection: PgListener,
    /// Tells this process's heartbeats from those of others.
    process: String,
    /// Not kept alive by the listener: it ends with the last one that asks the registry.
    view: Weak<RegistryView>,
    pool: Arc<TenantPool>,
}

/// The heartbeat that is under way.
enum Heartbeat {
    None,
    /// It waits for the connection to the registry.
    Waiting(oneshot::Receiver<()>),
    /// It must be back by then.
    Sent(Instant),
}

/// Why the listener has to connect again.
enum Lost {
    Closed(Option<sqlx::Error>),
    Silent,
    /// The old primary announces nothing any more.
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

    /// Whether a heartbeat comes back.
    pub(super) async fn is_receiving(&mut self, view: &RegistryView) -> bool {
        // Kept, as the sender would otherwise find that nobody waits.
        let _sent = view.send_heartbeat(Notification::heartbeat(&self.process, now()));
        let back = async {
            while let Ok(Some(notification)) = self.connection.try_recv().await {
                if self.handle(notification.payload()) {
                    return true;
                }
            }
            false
        };
        timeout(ARRIVES_WITHIN, back).await.unwrap_or_default()
    }

    /// Receives until nobody asks the registry any more.
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
                "announcements are not received; connecting again. Until then cached tenants are \
                 checked against the registry every second"
            );
            // It may be to another server, or lost as well.
            view.reopen();
            drop(view);
            // Other connections may be lost for the same reason.
            self.pool.suspect_all();
            self.connection = loop {
                match subscribe(&self.pool, OPENED_WITHIN).await {
                    Ok(connection) => break connection,
                    Err(error) => warn!(%error, "no connection for announcements; retrying"),
                }
                if self.view.strong_count() == 0 || self.pool.is_closed() {
                    return;
                }
                sleep(RETRY).await;
            };
            // Notifications in between were missed.
            let Some(view) = self.view.upgrade() else { return };
            view.freshness.all_changed();
            info!("the connection for announcements is open again");
            // Apart, as it may wait for a connection.
            let db = self.pool.registry();
            tokio::spawn(async move {
                if let Err(error) = view.schemas.load(&db).await {
                    warn!(%error, "the schemas of new tenants could not be read");
                }
            });
        }
    }

    /// Receives until the connection is lost; None when there is nobody to receive for.
    async fn receive(&mut self) -> Option<Lost> {
        let mut heartbeat = Heartbeat::None;
        let mut failover = self.pool.failover();
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What has arrived comes before the conclusion that nothing did.
                biased;
                received = self.connection.try_recv() => match received {
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

    /// Whether it was a heartbeat of this process.
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
                id.into_iter().for_each(|id| view.freshness.changed(Freshness::slot(id)));
                for key in keys {
                    match key.strip_prefix(SCHEMA_MARK) {
                        Some(schema) => view.schemas.add(schema),
                        None => view.freshness.changed(Freshness::slot(key)),
                    }
                }
                false
            }
        }
    }
}

impl Heartbeat {
    /// What becomes of it when it does not come back; None when it should have by now.
    async fn next(&mut self) -> Option<Self> {
        match self {
            Self::None => std::future::pending().await,
            Self::Waiting(sent) => match sent.await {
                Ok(()) => Some(Self::Sent(Instant::now() + RETURNS_WITHIN)),
                // It could not be sent; the next one may be.
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
            Self::Failover => f.write_str("the server accepts no writes any more"),
            Self::Silent => write!(
                f,
                "an announcement of this process did not come back within {} seconds",
                RETURNS_WITHIN.as_secs()
            ),
        }
    }
}

/// Starts to listen, on a pool of one connection as the driver wants it.
async fn subscribe(pool: &TenantPool, within: Duration) -> Result<PgListener, sqlx::Error> {
    let subscribed = async {
        let single = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(pool.connect_options().clone())
            .await?;
        let mut listener = PgListener::connect_with(&single).await?;
        // What happens between two connections is lost; the caller has to know.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    timeout(within, subscribed).await.unwrap_or_else(|_| Err(held_back(within)))
}

/// Notices pauses of the process, until nobody asks the registry any more.
pub(super) async fn watch_clock(view: Weak<RegistryView>) {
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let Some(view) = view.upgrade() else { return };
        view.freshness.tick();
    }
}
