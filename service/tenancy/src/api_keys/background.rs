use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_registry::{
    audit::{self, Entry},
    notify::entry_inserted,
};
use tokio::{sync::mpsc, time::sleep};
use tracing::warn;
use uuid::Uuid;

use crate::pool::PoolHandle;

/// Maximum number of events that wait to be written; further ones are left out.
const MAX_WAITING: usize = 1024;

/// Pause after a write, so that the uses of many keys are one statement.
const PAUSE: Duration = Duration::from_secs(1);

/// Something about a key that is written without a request waiting for it.
pub(crate) enum Event {
    /// The key with this id was used.
    Used(Uuid),
    /// A key was refused.
    Refused(Box<Entry>),
}

/// Writes the events of a process.
pub(crate) struct Background {
    db: PoolHandle,
    events: mpsc::Receiver<Event>,
}

impl Background {
    pub(crate) fn new(db: PoolHandle) -> (Self, mpsc::Sender<Event>) {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        (Self { db, events }, sender)
    }

    /// Writes until all senders are gone.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.events.recv_many(&mut batch, MAX_WAITING).await > 0 {
            self.write(batch.drain(..)).await;
            sleep(PAUSE).await;
        }
    }

    async fn write(&self, events: impl Iterator<Item = Event>) {
        let mut used = Vec::new();
        for event in events {
            match event {
                Event::Used(id) => used.push(id),
                Event::Refused(entry) => {
                    if let Err(error) = audit::record(&self.db, *entry, entry_inserted()).await {
                        warn!(%error, "the refusal of a key was not recorded");
                    }
                }
            }
        }
        if !used.is_empty()
            && let Err(error) = self.write_uses(used).await
        {
            warn!(%error, "the uses of keys were not recorded");
        }
    }

    async fn write_uses(&self, used: Vec<Uuid>) -> Result<(), DbErr> {
        // Another process may have written it, or write it now.
        let update = Statement::from_sql_and_values(
            DbBackend::Postgres,
            r#"UPDATE "registry"."api_keys" SET "last_used_at" = $2 WHERE "id" IN (
                    SELECT "id" FROM "registry"."api_keys" WHERE "id" = ANY ($1)
                    AND ("last_used_at" IS NULL OR "last_used_at" < $2 - interval '55 seconds')
                    FOR UPDATE SKIP LOCKED
                )"#,
            [used.into(), tenantry_registry::now().into()],
        );
        self.db.execute_raw(update).await.map(drop)
    }
}
