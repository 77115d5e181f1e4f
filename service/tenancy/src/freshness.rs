//! Decides whether an answer of the registry may still be used.
//!
//! An answer is stamped when the registry is queried. It is valid until a change of its subject is
//! notified, or until it is too old. Its maximum age depends on whether notifications are received:
//! the process sends one to itself every few seconds (a heartbeat), and PostgreSQL delivers
//! notifications in commit order, so a heartbeat that returns proves that everything committed
//! before it was sent has been received. Without that proof, and after a pause of the process, an
//! answer is used for [`UNPROVEN`] only.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::info;

/// Number of change counters. Each key and each tenant shares one of them with a few others.
const SLOTS: usize = 16_384;

/// Maximum age of an answer while notifications may be missing, in milliseconds.
const UNPROVEN: u64 = 1000;

/// Maximum age of the last heartbeat that returned, in milliseconds: two periods.
const SILENCE: u64 = 4000;

/// Maximum delay of a tick of the process's clock, in milliseconds.
const PAUSE: u64 = 2000;

/// How often [`Freshness::tick`] is called.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// The changes that were notified, and until when. All times are milliseconds of the system clock,
/// which continues while the process or the machine is suspended.
pub(super) struct Freshness {
    ttl: u64,
    /// Number of changes received.
    changes: AtomicU64,
    /// Number of the last change of each slot.
    last_change: Box<[AtomicU64]>,
    /// Number of changes when all answers were last invalidated.
    all_changed: AtomicU64,
    /// Everything that was committed until then has been received.
    received_until: AtomicU64,
    ticked: AtomicU64,
    /// Whether a heartbeat has returned since the listener has connected.
    connected: AtomicBool,
    /// End of the last pause. Heartbeats that were sent before prove nothing.
    resumed: Mutex<u64>,
}

/// The time of a query of the registry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) at: u64,
    /// Number of changes that had been received.
    pub(super) changes: u64,
}

impl Freshness {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            changes: AtomicU64::new(0),
            last_change: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            all_changed: AtomicU64::new(0),
            received_until: AtomicU64::new(0),
            ticked: AtomicU64::new(now()),
            connected: AtomicBool::new(false),
            resumed: Mutex::new(0),
        }
    }

    /// The change counter of a key or a tenant.
    pub(super) fn slot(of: impl Hash) -> usize {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        hasher.finish() as usize % SLOTS
    }

    /// To be taken before the registry is queried: an answer that was in flight during a change is
    /// not valid.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { at: now(), changes: self.changes.load(Ordering::SeqCst) }
    }

    /// Invalidates earlier answers about the subjects of `slot`.
    pub(super) fn changed(&self, slot: usize) {
        self.last_change[slot].fetch_max(self.next_change(), Ordering::SeqCst);
    }

    /// Invalidates all earlier answers.
    pub(super) fn all_changed(&self) {
        self.all_changed.fetch_max(self.next_change(), Ordering::SeqCst);
    }

    fn next_change(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Whether a change was received after `since` others.
    pub(super) fn has_changed(&self, slot: usize, since: u64) -> bool {
        self.last_change[slot].load(Ordering::SeqCst) > since
            || self.all_changed.load(Ordering::SeqCst) > since
    }

    /// Whether the answer to a query `at` this time is not too old.
    pub(super) fn is_recent(&self, at: u64) -> bool {
        // The clock is read last, so that it is not behind the times that other threads have stored.
        let (received_until, ticked) = self.proof();
        let now = now();
        let limit = match is_proven(received_until, ticked, now) {
            true => self.ttl,
            false => self.ttl.min(UNPROVEN),
        };
        // With a lifetime of zero, nothing is recent.
        limit > 0 && is_within(at, now, limit - 1)
    }

    /// Whether the listener is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::SeqCst)
    }

    fn proof(&self) -> (u64, u64) {
        (self.received_until.load(Ordering::SeqCst), self.ticked.load(Ordering::SeqCst))
    }

    /// A heartbeat that was sent `at` this time has returned.
    pub(super) fn received(&self, at: u64) {
        let resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
        if at >= *resumed {
            self.received_until.store(at, Ordering::SeqCst);
        }
        self.connected.store(true, Ordering::SeqCst);
    }

    /// The connection of the listener was lost.
    pub(super) fn lost(&self) {
        self.connected.store(false, Ordering::SeqCst);
        self.received_until.store(0, Ordering::SeqCst);
    }

    /// Detects a pause of the process by being called late.
    pub(super) fn tick(&self) {
        let now = now();
        let before = self.ticked.load(Ordering::SeqCst);
        if !is_within(before, now, PAUSE) {
            let mut resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
            *resumed = now;
            self.received_until.store(0, Ordering::SeqCst);
            info!(
                milliseconds = now.saturating_sub(before),
                "the process was paused or the clock was set; checking cached tenants against the \
                 registry"
            );
        }
        // Last: until then `is_recent` detects the pause itself.
        self.ticked.store(now, Ordering::SeqCst);
    }
}

fn is_proven(received_until: u64, ticked: u64, now: u64) -> bool {
    is_within(received_until, now, SILENCE) && is_within(ticked, now, PAUSE)
}

/// Whether `then` is at most `limit` before `now`. A clock that was set back by more than [`PAUSE`]
/// proves nothing.
fn is_within(then: u64, now: u64, limit: u64) -> bool {
    match now.checked_sub(then) {
        Some(age) => age <= limit,
        None => then - now <= PAUSE,
    }
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Freshness {
        fn is_receiving(&self) -> bool {
            let (received_until, ticked) = self.proof();
            is_proven(received_until, ticked, now())
        }
    }

    fn proven() -> Freshness {
        let freshness = Freshness::new(Duration::from_secs(30));
        freshness.received(now());
        freshness
    }

    #[test]
    fn an_answer_lasts_its_lifetime_while_notifications_are_received_and_a_second_otherwise() {
        let freshness = proven();
        assert!(freshness.is_recent(now() - 20_000));
        assert!(!freshness.is_recent(now() - 30_000));
        freshness.lost();
        assert!(freshness.is_recent(now()));
        assert!(!freshness.is_recent(now() - UNPROVEN));
        // A heartbeat that is too old proves nothing.
        freshness.received(now() - SILENCE - 1);
        assert!(!freshness.is_recent(now() - UNPROVEN));
        freshness.received(now() - SILENCE / 2);
        assert!(freshness.is_recent(now() - UNPROVEN));
    }

    #[test]
    fn a_pause_is_detected_before_and_after_the_next_tick() {
        let freshness = proven();
        let before = now();
        freshness.ticked.store(before - PAUSE - 1, Ordering::SeqCst);
        assert!(!freshness.is_receiving());
        freshness.tick();
        assert!(!freshness.is_receiving());
        freshness.received(before - 1);
        assert!(!freshness.is_receiving(), "sent before the end of the pause");
        freshness.received(now());
        assert!(freshness.is_receiving());
        // The clock was set back.
        freshness.ticked.store(now() + 3_600_000, Ordering::SeqCst);
        assert!(!freshness.is_receiving());
    }

    #[test]
    fn an_answer_that_was_in_flight_during_a_change_is_not_valid() {
        let freshness = proven();
        let (one, two) = (Freshness::slot("one"), Freshness::slot("two"));
        let before = freshness.stamp();
        freshness.changed(one);
        let after = freshness.stamp();
        assert!(freshness.has_changed(one, before.changes));
        assert!(!freshness.has_changed(one, after.changes));
        assert!(!freshness.has_changed(two, before.changes));
        freshness.all_changed();
        assert!(freshness.has_changed(two, after.changes));
        assert!(!freshness.has_changed(two, freshness.stamp().changes));
    }

    #[test]
    fn nothing_is_recent_with_a_lifetime_of_zero() {
        let freshness = Freshness::new(Duration::ZERO);
        freshness.received(now());
        assert!(!freshness.is_recent(now()));
    }
}
