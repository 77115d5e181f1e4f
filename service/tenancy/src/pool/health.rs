//! Whether connections that were found to work still do.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tracing::warn;

use super::slot::Generation;

/// What is known of the server. Pools of one database may share it.
pub(super) struct Health {
    /// How often a connection was found broken. Connections that have been idle since before the
    /// last time are pinged before they are used.
    suspect: AtomicU64,
    /// How often a server has ceased to accept writes. Connections to an earlier one are replaced.
    primary: AtomicU64,
    /// Notifies users of connections that are not in a pool.
    failover: watch::Sender<()>,
}

impl Default for Health {
    fn default() -> Self {
        let failover = watch::Sender::new(());
        Self { suspect: AtomicU64::new(0), primary: AtomicU64::new(0), failover }
    }
}

impl Health {
    pub(super) fn suspect_all(&self) {
        self.suspect.fetch_add(1, Ordering::Relaxed);
    }

    /// The server of a connection of this generation has ceased to accept writes.
    pub(super) fn lost_primary(&self, Generation { primary, .. }: Generation) {
        let order = Ordering::Relaxed;
        if self.primary.compare_exchange(primary, primary + 1, order, order).is_ok() {
            self.failover.send_replace(());
            warn!("the database server accepts no writes; replacing all connections");
        }
    }

    pub(super) fn failover(&self) -> watch::Receiver<()> {
        self.failover.subscribe()
    }

    pub(super) fn generation(&self) -> Generation {
        Generation {
            suspect: self.suspect.load(Ordering::Relaxed),
            primary: self.primary.load(Ordering::Relaxed),
        }
    }
}
