//! Notifications about migrated tenants, for the processes that serve them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sea_orm::DatabaseConnection;
use tenantry_registry::{TenantId, notify::notify_all};

/// Interval of notifications. Not in the transaction of each migration, because PostgreSQL commits
/// transactions with notifications one at a time (`PreCommit_Notify` in async.c).
const INTERVAL: Duration = Duration::from_millis(100);

/// Collects migrated tenants and sends notifications about them.
pub(super) struct ChangeNotifier<'a> {
    db: &'a DatabaseConnection,
    changed: Mutex<Vec<TenantId>>,
}

impl<'a> ChangeNotifier<'a> {
    pub(super) fn new(db: &'a DatabaseConnection) -> Self {
        Self { db, changed: Mutex::default() }
    }

    pub(super) fn add(&self, id: TenantId) {
        self.changed().push(id);
    }

    /// Sends notifications until `work` is finished, and once more.
    pub(super) async fn notify_while<T>(&self, work: impl Future<Output = T>) -> T {
        let notify = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                self.flush().await;
            }
        };
        let done = tokio::select! {
            done = work => done,
            never = notify => match never {},
        };
        self.flush().await;
        done
    }

    /// A process that misses a notification finds the change when it next reads the registry.
    async fn flush(&self) {
        let changed = self.changed().clone();
        if changed.is_empty() {
            return;
        }
        if let Err(error) = notify_all(self.db, &changed).await {
            tracing::warn!(%error, tenants = changed.len(), "NOTIFY for migrated tenants failed");
        }
        self.changed().drain(..changed.len());
    }

    fn changed(&self) -> MutexGuard<'_, Vec<TenantId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
