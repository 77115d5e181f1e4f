use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_registry::audit::{self, Entry};
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
            if let Err(error) = self.write(batch.drain(..)).await {
                warn!(%error, "the uses and refusals of keys were not recorded");
            }
            sleep(PAUSE).await;
        }
    }

    async fn write(&self, events: impl Iterator<Item = Event>) -> Result<(), DbErr> {
        let (mut used, mut refused) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Used(id) => used.push(id),
                Event::Refused(entry) => refused.push(*entry),
            }
        }
        for entry in refused {
            audit::record(&self.db, entry).await?;
        }
        if !used.is_empty() {
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
            self.db.execute_raw(update).await?;
        }
        Ok(())
    }
}
