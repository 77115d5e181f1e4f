//! What statements cost, as measured on the connections of the pool.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::super::request::Usage;

/// A connection that has not served the tenant is worth as much waiting as its first statement takes
/// longer, times this: its server process uses its processor that long, which others need as well,
/// and keeps the memory.
const WORTH: u32 = 4;

/// Bounds of what it is worth. Any statement may take some milliseconds longer where processes share
/// processors, in time slices of that length.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// A request that has waited for this long, or up to ten times as long if others wait long as well,
/// takes any connection.
pub(super) const LONG_WAIT: Duration = Duration::from_millis(50);

/// Each measurement changes a mean by this part of the difference.
const WEIGHT: f64 = 1.0 / 16.0;

/// Number of tenants with a debt above which those that have paid theirs are removed.
const DEBTORS: usize = 1024;

/// A mean of measured times: a geometric one, so that a few slow statements do not hide how long most
/// take. It holds the logarithm of the seconds.
struct Mean(f64);

impl Mean {
    fn new(first: Duration) -> Self {
        Self(logarithm(first))
    }

    fn record(&mut self, time: Duration) {
        self.0 += WEIGHT * (logarithm(time) - self.0);
    }

    fn get(&self) -> Duration {
        Duration::from_secs_f64(self.0.exp())
    }
}

fn logarithm(time: Duration) -> f64 {
    time.clamp(Duration::from_micros(1), Duration::from_secs(60)).as_secs_f64().ln()
}

/// The means of what was measured.
pub(super) struct Costs {
    /// A statement on a connection that has served the tenant recently.
    known: Mean,
    /// A statement on another connection: its server process has to load the tenant's tables, and
    /// to parse and plan the statement.
    strange: Mean,
    /// A transaction or a stream.
    open_ended: Mean,
    /// A wait for a connection.
    wait: Mean,
}

impl Default for Costs {
    fn default() -> Self {
        let known = Duration::from_micros(100);
        Self {
            known: Mean::new(known),
            strange: Mean::new(known + Duration::from_millis(5) / WORTH),
            open_ended: Mean::new(Duration::from_millis(100)),
            wait: Mean::new(known),
        }
    }
}

impl Costs {
    /// A connection was used for this long.
    pub(super) fn record(&mut self, usage: Usage, is_known: bool, took: Duration) {
        match usage {
            Usage::OpenEnded => self.open_ended.record(took),
            Usage::Statement if is_known => self.known.record(took),
            Usage::Statement => self.strange.record(took),
        }
    }

    /// A request has waited for this long.
    pub(super) fn record_wait(&mut self, waited: Duration) {
        self.wait.record(waited);
    }

    /// How long a statement may wait so as not to need a connection that has not served its tenant.
    pub(super) fn of_strange(&self) -> Duration {
        let more = self.strange.get().saturating_sub(self.known.get());
        (more * WORTH).clamp(BOUNDS.0, BOUNDS.1)
    }

    /// A wait after which a request takes any connection: one that is far longer than others.
    pub(super) fn long_wait(&self) -> Duration {
        (self.wait.get() * 4).clamp(LONG_WAIT, LONG_WAIT * 10)
    }

    /// How much longer a use takes that has taken `elapsed`. One that has outlasted the mean is
    /// expected to take as long again.
    pub(super) fn remaining(&self, usage: Usage, is_known: bool, elapsed: Duration) -> Duration {
        let mean = match usage {
            Usage::Statement if is_known => &self.known,
            Usage::Statement => &self.strange,
            Usage::OpenEnded => &self.open_ended,
        };
        mean.get().checked_sub(elapsed).unwrap_or(elapsed)
    }
}

/// For how long statements of each tenant have waited although other connections were free. A
/// tenant that has waited for as long as a strange connection costs is served by one more, which
/// then knows it (as one buys skis once the rent has added up to their price: Karlin, Manasse,
/// Rudolph and Sleator 1988).
#[derive(Default)]
pub(super) struct Debts {
    of_tenants: HashMap<u64, Debt>,
    /// Number of tenants at which the map is cleaned up.
    limit: usize,
}

struct Debt {
    /// At the time `at`. A thousandth of the time since then is forgotten.
    waited: Duration,
    at: Instant,
}

impl Debt {
    fn now(&self, now: Instant) -> Duration {
        self.waited.saturating_sub(now.saturating_duration_since(self.at) / 1000)
    }
}

impl Debts {
    pub(super) fn of(&self, tenant: u64, now: Instant) -> Duration {
        self.of_tenants.get(&tenant).map_or(Duration::ZERO, |debt| debt.now(now))
    }

    pub(super) fn add(&mut self, tenant: u64, waited: Duration, now: Instant) {
        if waited.is_zero() {
            return;
        }
        if self.of_tenants.len() > self.limit {
            self.of_tenants.retain(|_, debt| !debt.now(now).is_zero());
            self.limit = DEBTORS.max(self.of_tenants.len() * 2);
        }
        let waited = self.of(tenant, now) + waited;
        self.of_tenants.insert(tenant, Debt { waited, at: now });
    }

    pub(super) fn clear(&mut self, tenant: u64) {
        self.of_tenants.remove(&tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_cost_of_a_strange_connection_is_what_was_measured() {
        let mut costs = Costs::default();
        for _ in 0..200 {
            costs.record(Usage::Statement, true, MILLISECOND);
            costs.record(Usage::Statement, false, 3 * MILLISECOND);
            costs.record(Usage::OpenEnded, true, 4 * MILLISECOND);
        }
        let close = |is: Duration, to: Duration| is.abs_diff(to) < MILLISECOND / 100;
        assert!(close(costs.of_strange(), 8 * MILLISECOND));
        let remaining = |usage, elapsed| costs.remaining(usage, true, elapsed);
        assert!(close(remaining(Usage::OpenEnded, MILLISECOND), 3 * MILLISECOND));
        assert_eq!(remaining(Usage::Statement, 5 * MILLISECOND), 5 * MILLISECOND);
        // Never nothing, and never more than a caller would notice.
        for _ in 0..200 {
            costs.record(Usage::Statement, false, MILLISECOND);
        }
        assert_eq!(costs.of_strange(), BOUNDS.0);
        for _ in 0..200 {
            costs.record(Usage::Statement, false, Duration::from_secs(60));
        }
        assert_eq!(costs.of_strange(), BOUNDS.1);
    }

    #[test]
    fn a_few_slow_statements_do_not_hide_the_cost_of_a_strange_connection() {
        let mut costs = Costs::default();
        for n in 0..1000 {
            let slow = |usual| if n % 20 == 0 { Duration::from_secs(1) } else { usual };
            costs.record(Usage::Statement, true, slow(MILLISECOND / 5));
            costs.record(Usage::Statement, false, slow(4 * MILLISECOND));
        }
        let worth = costs.of_strange();
        assert!((10 * MILLISECOND..40 * MILLISECOND).contains(&worth), "{worth:?}");
    }

    #[test]
    fn what_is_a_long_wait_depends_on_how_long_others_wait() {
        let mut costs = Costs::default();
        assert_eq!(costs.long_wait(), LONG_WAIT);
        for _ in 0..200 {
            costs.record_wait(100 * MILLISECOND);
        }
        assert!(costs.long_wait() > 300 * MILLISECOND);
        for _ in 0..200 {
            costs.record_wait(Duration::from_secs(60));
        }
        assert_eq!(costs.long_wait(), 10 * LONG_WAIT);
    }

    #[test]
    fn waits_add_up_and_are_forgotten() {
        let (mut debts, start) = (Debts::default(), Instant::now());
        debts.add(1, MILLISECOND, start);
        debts.add(1, MILLISECOND, start + 500 * MILLISECOND);
        let now = start + 500 * MILLISECOND;
        assert_eq!(debts.of(1, now), MILLISECOND * 3 / 2);
        assert_eq!(debts.of(2, now), Duration::ZERO);
        let later = start + Duration::from_secs(10);
        assert_eq!(debts.of(1, later), Duration::ZERO);
        for tenant in 0..10_000 {
            debts.add(tenant, MILLISECOND, later + Duration::from_secs(tenant));
        }
        assert!(debts.of_tenants.len() <= 2 * DEBTORS);
        debts.clear(9_999);
        assert_eq!(debts.of(9_999, later), Duration::ZERO);
    }
}
