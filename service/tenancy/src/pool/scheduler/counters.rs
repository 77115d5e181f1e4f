use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Name of the histogram of waits.
#[cfg(feature = "metrics")]
pub(in super::super::super) const WAIT_SECONDS: &str = "tenantry_pool_wait_seconds";

/// What has happened to requests since the pool was made.
#[derive(Default)]
pub(super) struct Counters {
    acquired: AtomicU64,
    waited: AtomicU64,
    wait_nanos: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    #[cfg(feature = "metrics")]
    wait_seconds: Option<metrics::Histogram>,
}

/// The values of [`Counters`].
pub(crate) struct Counts {
    pub(crate) acquired: u64,
    pub(crate) waited: u64,
    pub(crate) wait_time: Duration,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
}

impl Counters {
    #[cfg(feature = "metrics")]
    pub(super) fn recorded(database: &str) -> Self {
        let wait = metrics::histogram!(WAIT_SECONDS, "database" => database.to_owned());
        Self { wait_seconds: Some(wait), ..Self::default() }
    }

    /// A request got a connection, after it has waited for this long if it had to.
    pub(super) fn acquired(&self, wait: Option<Duration>) {
        self.acquired.fetch_add(1, Ordering::Relaxed);
        if let Some(wait) = wait {
            self.waited.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            self.wait_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
        #[cfg(feature = "metrics")]
        if let Some(histogram) = &self.wait_seconds {
            histogram.record(wait.unwrap_or_default().as_secs_f64());
        }
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            acquired: get(&self.acquired),
            waited: get(&self.waited),
            wait_time: Duration::from_nanos(get(&self.wait_nanos)),
            refused: get(&self.refused),
            timed_out: get(&self.timed_out),
        }
    }
}
