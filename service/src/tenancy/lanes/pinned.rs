//! One connection and the place that it is kept in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};

/// Room for one connection, which only who has taken the place may touch.
pub(super) struct Place {
    taken: AtomicBool,
    parked: Mutex<Option<Pinned>>,
    /// A pool of this one connection.
    db: DatabaseConnection,
    /// Has the pool close the connection when it gets it back.
    worn: Arc<AtomicBool>,
    /// So many different tenants may use a connection.
    recycle_after: u32,
    /// Looks at the place, one after the other, that have found it as the one before did.
    quiet: AtomicU32,
}

/// A connection that is kept out of its pool.
///
/// The pool asks the server for a sign of life whenever a connection comes back: a round trip after
/// each statement, in which nobody else can use it. SeaORM works on a connection outside of a pool
/// only in a transaction. So it is given one, and the server's side of it is ended at once: what is
/// sent then is what the caller sends, and each statement is a transaction of its own.
pub(super) struct Pinned {
    pub(super) db: DatabaseTransaction,
    since: Instant,
    /// See [`Lanes::doubts`](super::Lanes).
    pub(super) doubts: u64,
    met: Met,
}

/// Which tenants a connection has served: a bit for each, by its hash.
struct Met {
    bits: Box<[u64]>,
    count: u32,
}

impl Place {
    /// A place for connections like that of `first`.
    pub(super) fn new(
        first: &DatabaseConnection,
        recycle_after: u32,
        number: usize,
        count: usize,
    ) -> Self {
        let worn = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&worn);
        let pool = first.get_postgres_connection_pool();
        let options = pool.options().clone().after_release(move |_, _| {
            let keep = !told.swap(false, Ordering::Relaxed);
            Box::pin(async move { Ok(keep) })
        });
        let db = options.connect_lazy_with((*pool.connect_options()).clone()).into();
        // Not all at once: the last one after three quarters of it.
        let early = recycle_after as usize / 4 * number / count;
        Self {
            taken: AtomicBool::new(false),
            parked: Mutex::new(None),
            db,
            worn,
            recycle_after: recycle_after - u32::try_from(early).unwrap_or(0),
            quiet: AtomicU32::new(0),
        }
    }

    pub(super) fn is_free(&self) -> bool {
        !self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn try_take(&self) -> bool {
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(super) fn set_free(&self) {
        self.taken.store(false, Ordering::Release);
    }

    pub(super) fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    /// Opens a connection, or takes the one that the pool has got back.
    pub(super) async fn pin(&self, doubts: u64) -> Result<Pinned, DbErr> {
        let db = self.db.begin().await?;
        send(&db, "COMMIT").await?;
        Ok(Pinned { db, since: Instant::now(), doubts, met: Met::new(self.recycle_after) })
    }

    pub(super) fn park(&self, pinned: Pinned) {
        self.quiet.store(0, Ordering::Relaxed);
        *self.parked() = Some(pinned);
    }

    pub(super) fn unpark(&self) -> Option<Pinned> {
        self.parked().take()
    }

    /// For how many looks nobody has used the place.
    pub(super) fn look(&self) -> u32 {
        self.quiet.fetch_add(1, Ordering::Relaxed)
    }

    /// Goes on counting looks after a connection was parked that nobody has used.
    pub(super) fn still_quiet(&self, looks: u32) {
        self.quiet.store(looks, Ordering::Relaxed);
    }

    /// Whether a connection has served too many tenants, or for too long.
    pub(super) fn is_worn(&self, pinned: &Pinned, max_lifetime: Duration) -> bool {
        let many = self.recycle_after > 0 && pinned.met.count > self.recycle_after;
        many || pinned.since.elapsed() > max_lifetime
    }

    /// Has a connection closed that has done its duty.
    pub(super) async fn retire(&self, pinned: Pinned) {
        self.worn.store(true, Ordering::Relaxed);
        pinned.unpin().await;
    }

    /// Has a connection closed that gives no answer, without waiting for one.
    pub(super) fn throw_away(&self, pinned: Pinned) {
        self.worn.store(true, Ordering::Relaxed);
        drop(pinned);
    }

    pub(super) async fn close(&self) {
        if let Some(pinned) = self.unpark() {
            pinned.unpin().await;
        }
        self.db.get_postgres_connection_pool().close().await;
    }

    fn parked(&self) -> MutexGuard<'_, Option<Pinned>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pinned {
    pub(super) fn meet(&mut self, tenant: u64) {
        self.met.note(tenant);
    }

    /// Gives the connection back to its pool. The server is told to begin a transaction, since
    /// SeaORM will end one, and the server's log would be told of a transaction that is not there.
    pub(super) async fn unpin(self) {
        // A connection that has ended is thrown away by the pool.
        if send(&self.db, "BEGIN").await.is_ok() {
            let _ = self.db.rollback().await;
        }
    }
}

impl Met {
    /// With eight times as many bits as tenants to be counted, few share one.
    fn new(most: u32) -> Self {
        let words = if most == 0 { 0 } else { (most as usize / 8).next_power_of_two() };
        Self { bits: vec![0; words].into(), count: 0 }
    }

    fn note(&mut self, tenant: u64) {
        if self.bits.is_empty() {
            return;
        }
        let word = (tenant >> 6) as usize % self.bits.len();
        let bit = 1 << (tenant & 63);
        self.count += u32::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }
}

/// Sends a word to the server, in one round trip. Nothing at all is one too.
#[expect(clippy::disallowed_methods, reason = "words of this module only, without parameters")]
pub(super) async fn send(db: &DatabaseTransaction, word: &str) -> Result<(), DbErr> {
    db.execute_unprepared(word).await.map(drop)
}

#[cfg(test)]
mod tests {
    use entity::registry::TenantId;

    use super::*;
    use crate::tenancy::lanes::fold;

    #[test]
    fn tenants_are_counted_once_however_often_they_come() {
        let mut met = Met::new(1000);
        let tenants: Vec<u64> = (0..1000).map(|_| fold(TenantId::generate())).collect();
        for _ in 0..3 {
            tenants.iter().for_each(|tenant| met.note(*tenant));
        }
        assert!((850..=1000).contains(&met.count), "{}", met.count);
    }
}
