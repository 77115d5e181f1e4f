//! Telling the processes that serve tenants what has become of them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sea_orm::DatabaseConnection;
use tenantry_registry::TenantId;

/// How long news is collected. Not told in the transaction of each migration, since PostgreSQL lets
/// only one transaction with announcements commit at a time (`PreCommit_Notify` in async.c).
const PAUSE: Duration = Duration::from_millis(100);

/// Tenants that have changed and of whom nobody has been told yet.
pub(super) struct ChangeNotifier<'a> {
    db: &'a DatabaseConnection,
    changed: Mutex<Vec<TenantId>>,
}

impl<'a> ChangeNotifier<'a> {
    pub(super) fn new(db: &'a DatabaseConnection) -> Self {
        Self { db, changed: Mutex::default() }
    }

    pub(super) fn changed(&self, id: TenantId) {
        self.list().push(id);
    }

    /// Tells all news until `work` is finished.
    pub(super) async fn tell_during<T>(&self, work: impl Future<Output = T>) -> T {
        let telling = async {
            loop {
                tokio::time::sleep(PAUSE).await;
                self.tell().await;
            }
        };
        let done = tokio::select! {
            done = work => done,
            never = telling => match never {},
        };
        self.tell().await;
        done
    }

    /// Who is not reached finds out by looking at the registry, as after any lost announcement.
    async fn tell(&self) {
        let changed = self.list().clone();
        if changed.is_empty() {
            return;
        }
        if let Err(error) = tenantry_registry::notify::notify_all(self.db, &changed).await {
            tracing::warn!(%error, tenants = changed.len(), "migrated tenants were not announced");
        }
        self.list().drain(..changed.len());
    }

    fn list(&self) -> MutexGuard<'_, Vec<TenantId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
