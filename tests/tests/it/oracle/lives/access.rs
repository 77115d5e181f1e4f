//! What the clients of a tenant may do, and how long a server may take to learn of a change.

use std::time::{Duration, Instant};

/// How long a server may use an outdated entry: a second, plus a margin for a busy machine.
pub const LAG: Duration = Duration::from_millis(2500);

/// What a tenant's requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Served,
    /// Reads are served, writes are refused.
    ReadOnly,
    Refused,
}

/// The access now, and before each change.
#[derive(Debug)]
pub struct AccessHistory {
    now: Access,
    /// The access until a change that had ended then.
    before: Vec<(Instant, Access)>,
}

impl AccessHistory {
    pub fn new(now: Access) -> Self {
        Self { now, before: Vec::new() }
    }

    /// A change has ended.
    pub fn set(&mut self, access: Access) {
        let ended = Instant::now();
        self.before.retain(|(until, _)| *until + LAG > ended);
        self.before.push((ended, self.now));
        self.now = access;
    }

    /// Whether a request that started then may find this access.
    pub fn allows(&self, access: Access, started: Instant) -> bool {
        self.now == access
            || self.before.iter().any(|(until, was)| *was == access && started < *until + LAG)
    }
}
