use std::time::{Duration, Instant};

/// Lifetime of keys whose source names none.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Bounds of the lifetime, whatever the source says.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// How long keys are used after their lifetime while the source cannot be reached.
const MAX_STALE: Duration = Duration::from_secs(3600);

/// Shortest time between two attempts to fetch the keys, whatever tokens arrive.
const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// When the keys are fetched, and how long they are used.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// None before the first attempt.
    attempted_at: Option<Instant>,
    /// End of the lifetime of the keys; none before there are any.
    fresh_until: Option<Instant>,
}

impl Schedule {
    /// Whether the keys may be used.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.fresh_until.is_some_and(|until| now < until + MAX_STALE)
    }

    /// Whether new keys are wanted, and may be fetched now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.fresh_until.is_none_or(|until| now >= until) && self.may_attempt(now)
    }

    /// Whether keys may be fetched now, such as for a token that names an unknown one.
    pub(super) fn may_attempt(&self, now: Instant) -> bool {
        self.attempted_at.is_none_or(|at| now >= at + MIN_INTERVAL)
    }

    pub(super) fn attempted(&mut self, now: Instant) {
        self.attempted_at = Some(now);
    }

    /// Keys were received that may be used for `max_age`, within bounds.
    pub(super) fn received(&mut self, now: Instant, max_age: Option<Duration>) {
        let lifetime = max_age.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME);
        self.fresh_until = Some(now + lifetime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn keys_are_fetched_when_their_lifetime_ends_and_used_for_an_hour_more() {
        for (max_age, lifetime) in
            [(None, 900), (Some(0), 60), (Some(300), 300), (Some(u64::MAX / 4), 6 * 3600)]
        {
            let start = Instant::now();
            let mut schedule = Schedule::default();
            assert!(schedule.is_due(start) && !schedule.is_usable(start));
            schedule.attempted(start);
            schedule.received(start, max_age.map(Duration::from_secs));
            let end = start + Duration::from_secs(lifetime);
            assert!(!schedule.is_due(end - SECOND) && schedule.is_due(end), "{max_age:?}");
            let last = end + MAX_STALE;
            assert!(schedule.is_usable(last - SECOND) && !schedule.is_usable(last), "{max_age:?}");
        }
    }

    #[test]
    fn attempts_have_a_distance() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.attempted(start);
        assert!(!schedule.is_due(start + MIN_INTERVAL - SECOND));
        assert!(!schedule.may_attempt(start + MIN_INTERVAL - SECOND));
        assert!(schedule.is_due(start + MIN_INTERVAL));
        schedule.received(start, None);
        // Of a token with an unknown key.
        assert!(schedule.may_attempt(start + MIN_INTERVAL));
        assert!(!schedule.is_due(start + MIN_INTERVAL));
    }
}
