//! Changes of tenants, announced between processes with LISTEN and NOTIFY.

use std::{sync::Arc, time::Duration};

use entity::registry::TenantId;
use migration::CHANNEL;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, sqlx::postgres::PgListener};
use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, timeout},
};
use tracing::warn;
use uuid::Uuid;

use super::{
    cache::TenantCache,
    lanes::{Lane, Lanes},
};

/// Longest payload, in bytes: PostgreSQL takes less than 8000 (manual, NOTIFY).
const MAX_PAYLOAD: usize = 7999;

/// Announcements arrive with the end of the transaction; this is for a machine that is very busy.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Announces that `id` has changed, and that what is known under `keys` (slugs and host names) is
/// to be forgotten. Inside a transaction it is sent when that commits, and not at all otherwise.
pub(super) async fn announce(
    db: &impl ConnectionTrait,
    id: TenantId,
    keys: impl IntoIterator<Item = String>,
) -> Result<(), DbErr> {
    let mut payloads = vec![id.to_string()];
    for key in keys {
        if payloads.last().is_none_or(|last| last.len() + 1 + key.len() > MAX_PAYLOAD) {
            payloads.push(id.to_string());
        }
        if let Some(last) = payloads.last_mut() {
            last.push(' ');
            last.push_str(&key);
        }
    }
    for payload in payloads {
        let notify = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_notify($1, $2)",
            [CHANNEL.into(), payload.into()],
        );
        db.execute_raw(notify).await?;
    }
    Ok(())
}

/// Keeps the process's knowledge of tenants right until it is aborted.
///
/// Announcements do it at once. Besides, every open tenant is looked at after each `period`, which
/// bounds what a lost announcement or a failed look can do.
pub(super) async fn watch(
    listener: PgListener,
    lanes: Arc<Lanes>,
    cache: Arc<TenantCache>,
    period: Duration,
) {
    let watch = Watch { db: lanes.registry(), lanes, cache, looking: Mutex::new(()) };
    tokio::join!(watch.listen(listener), watch.sweep(period));
}

struct Watch {
    lanes: Arc<Lanes>,
    db: Lane,
    cache: Arc<TenantCache>,
    /// Held from reading rows until the states are set, so that an older look never overwrites
    /// what a newer one found.
    looking: Mutex<()>,
}

impl Watch {
    async fn listen(&self, mut listener: PgListener) {
        let mut failover = self.lanes.failover();
        loop {
            let received = tokio::select! {
                received = listener.try_recv() => received,
                // The old primary announces nothing any more.
                _ = failover.changed() => Ok(None),
            };
            if let Ok(Some(notification)) = received {
                self.heed(notification.payload()).await;
                continue;
            }
            if self.closing() {
                return;
            }
            warn!("the connection for announcements is lost; connecting again");
            self.cache.forget_all();
            // What ended this one may have ended others.
            self.lanes.doubt();
            listener = loop {
                match subscribe(&self.lanes).await {
                    Ok(listener) => break listener,
                    Err(error) => warn!(%error, "no connection for announcements; trying again"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            };
            // What was announced in between was missed.
            self.cache.forget_all();
            self.look(self.cache.all_live()).await;
        }
    }

    async fn sweep(&self, period: Duration) {
        let mut clock = tokio::time::interval(period.max(Duration::from_secs(1)));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock.tick().await;
        loop {
            clock.tick().await;
            self.look(self.cache.all_live()).await;
        }
    }

    async fn heed(&self, payload: &str) {
        let mut words = payload.split(' ');
        let id = words.next().and_then(|id| id.parse::<Uuid>().ok()).map(TenantId::from);
        self.cache.forget(words).await;
        let Some(id) = id else { return };
        self.cache.doubt(id);
        if self.cache.is_live(id) {
            self.look(vec![id]).await;
        }
    }

    /// Tells the open handles of tenants what the registry says of them now.
    async fn look(&self, ids: Vec<TenantId>) {
        let _looking = self.looking.lock().await;
        for ids in ids.chunks(1000) {
            match self.cache.looker.build.standings(&self.db, ids).await {
                Ok(standings) => {
                    for (id, standing) in standings {
                        self.cache.set(id, standing);
                    }
                }
                Err(_) if self.closing() => return,
                Err(error) => warn!(%error, "the state of open tenants could not be read"),
            }
        }
    }

    fn closing(&self) -> bool {
        self.lanes.is_closed()
    }
}

/// Whether announcements of this process come back to it.
pub(super) async fn arrive(listener: &mut PgListener, db: &Lane) -> Result<bool, DbErr> {
    // The key of no tenant, so nobody does anything about it.
    let id = TenantId::generate();
    announce(db, id, []).await?;
    let heard = async {
        while let Ok(notification) = listener.recv().await {
            if notification.payload() == id.to_string() {
                return true;
            }
        }
        false
    };
    Ok(timeout(ARRIVES_WITHIN, heard).await.unwrap_or_default())
}

/// Starts to listen.
pub(super) async fn subscribe(lanes: &Lanes) -> Result<PgListener, sea_orm::sqlx::Error> {
    // A pool of its own with one connection, to the same server with the same options.
    let pool = sea_orm::sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(lanes.options().clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
