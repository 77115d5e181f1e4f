//! The tenants that a fleet run still has to migrate, and the counts of the others.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tenantry_registry::TenantId;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{FailureLimit, FleetTenant, StopReason, Summary};

/// Interval in which an idle worker checks whether the run was interrupted.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// One tenant in the queue.
pub(super) struct Job {
    pub(super) tenant: FleetTenant,
    /// Failed attempts.
    pub(super) attempts: u32,
    /// Attempts that found the tenant locked by another run.
    pub(super) locked: u32,
    /// Start of the outage of its server.
    pub(super) unreachable_since: Option<Instant>,
    not_before: Instant,
}

impl Job {
    fn new(tenant: FleetTenant) -> Self {
        let not_before = Instant::now();
        Self { tenant, attempts: 0, locked: 0, unreachable_since: None, not_before }
    }
}

pub(super) struct Queue<'a> {
    stop: &'a AtomicBool,
    limit: Option<FailureLimit>,
    state: Mutex<State>,
    /// Wakes idle workers.
    changed: Notify,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: usize,
    seen: HashSet<TenantId>,
    planned: usize,
    closed: Option<StopReason>,
    last_response: Option<Instant>,
    /// Since when no server has responded.
    unreachable_since: Option<Instant>,
    summary: Summary,
}

pub(super) enum JobResult {
    Done,
    Skipped,
    Failed,
}

/// What to do while the server of a tenant is unreachable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutageDecision {
    Retry,
    /// Servers of other tenants respond.
    FailTenant,
    FailRun,
}

impl<'a> Queue<'a> {
    pub(super) fn new(stop: &'a AtomicBool, limit: Option<FailureLimit>) -> Self {
        Self { stop, limit, state: Mutex::default(), changed: Notify::new() }
    }

    /// Removes tenants that an earlier call has returned.
    pub(super) fn deduplicate(&self, tenants: Vec<FleetTenant>) -> Vec<FleetTenant> {
        let mut state = self.state();
        tenants.into_iter().filter(|tenant| state.seen.insert(tenant.id)).collect()
    }

    /// Adds to the number of tenants that the run works on, and returns it.
    pub(super) fn plan(&self, tenants: usize) -> usize {
        let mut state = self.state();
        state.planned += tenants;
        state.planned
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { stopped: self.stopped(), ..self.state().summary }
    }

    /// Why no more tenants are started, if that is so.
    pub(super) fn stopped(&self) -> Option<StopReason> {
        if self.stop.load(Ordering::SeqCst) {
            return Some(StopReason::Interrupted);
        }
        let state = self.state();
        let enough = self.limit.is_some_and(|limit| match limit {
            FailureLimit::Number(number) => state.summary.failed >= number,
            FailureLimit::Percent(share) => {
                let failed = state.summary.failed as f64;
                failed > 0.0 && 100.0 * failed >= share * state.planned as f64
            }
        });
        state.closed.or(enough.then_some(StopReason::MaxFailures))
    }

    /// Starts no more tenants.
    pub(super) fn close(&self, reason: StopReason) {
        self.state().closed.get_or_insert(reason);
        self.changed.notify_waiters();
    }

    pub(super) fn enqueue(&self, tenants: Vec<FleetTenant>) {
        self.state().jobs.extend(tenants.into_iter().map(Job::new));
    }

    /// Removes the waiting tenants and counts them as not started.
    pub(super) fn drain(&self) {
        let mut state = self.state();
        state.summary.not_started += state.jobs.len();
        state.jobs.clear();
    }

    /// Waits for the next tenant that is due; `None` if no more are to be started.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            let changed = self.changed.notified();
            if self.stopped().is_some() {
                return None;
            }
            let wake_at = {
                let mut state = self.state();
                let now = Instant::now();
                if let Some(due) = state.jobs.iter().position(|job| job.not_before <= now) {
                    state.running += 1;
                    return state.jobs.remove(due);
                }
                let next = state.jobs.iter().map(|job| job.not_before).min();
                // A running tenant may come back to the queue.
                if next.is_none() && state.running == 0 {
                    return None;
                }
                next.unwrap_or(now + STOP_CHECK).min(now + STOP_CHECK)
            };
            let _ = timeout_at(wake_at, changed).await;
        }
    }

    /// Puts a tenant at the end of the queue, to be retried after `pause` at the earliest.
    pub(super) fn requeue(&self, mut job: Job, pause: Duration) {
        job.not_before = Instant::now() + pause;
        let mut state = self.state();
        state.running -= 1;
        state.jobs.push_back(job);
        self.changed.notify_waiters();
    }

    pub(super) fn finish(&self, result: &JobResult) {
        let mut state = self.state();
        state.running -= 1;
        match result {
            JobResult::Done => state.summary.done += 1,
            JobResult::Skipped => state.summary.skipped += 1,
            JobResult::Failed => state.summary.failed += 1,
        }
        self.changed.notify_waiters();
    }

    /// A server has responded, also with an error.
    pub(super) fn server_responded(&self) {
        let mut state = self.state();
        state.last_response = Some(Instant::now());
        state.unreachable_since = None;
    }

    /// The server of this tenant has not responded: decides whether to retry.
    pub(super) fn server_unreachable(&self, job: &mut Job, limit: Duration) -> OutageDecision {
        let now = Instant::now();
        let mut state = self.state();
        let all_since = *state.unreachable_since.get_or_insert(now);
        let since = *job.unreachable_since.get_or_insert(now);
        if now - since >= limit && state.last_response.is_some_and(|last| last > since) {
            OutageDecision::FailTenant
        // Not per tenant: every tenant would wait again when its turn comes.
        } else if now - all_since >= limit {
            OutageDecision::FailRun
        } else {
            OutageDecision::Retry
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, time::Duration};

    use tenantry_registry::TenantId;
    use tokio::time::sleep;

    use super::{Job, OutageDecision, Queue};
    use crate::FleetTenant;

    fn job() -> Job {
        let schema = "tenant_1".parse().unwrap();
        let (id, set) = (TenantId::generate(), String::new());
        Job::new(FleetTenant { id, slug: None, schema, version: None, set })
    }

    #[tokio::test]
    async fn waits_for_unreachable_server_only_once_per_run() {
        let stop = AtomicBool::new(false);
        let queue = Queue::new(&stop, None);
        let (mut first, limit) = (job(), Duration::from_millis(20));
        let long = Duration::from_secs(3600);
        assert_eq!(queue.server_unreachable(&mut first, long), OutageDecision::Retry);
        sleep(limit).await;
        assert_eq!(queue.server_unreachable(&mut job(), limit), OutageDecision::FailRun);
        assert_eq!(queue.server_unreachable(&mut first, limit), OutageDecision::FailRun);

        queue.server_responded();
        assert_eq!(queue.server_unreachable(&mut job(), long), OutageDecision::Retry);
        assert_eq!(queue.server_unreachable(&mut first, limit), OutageDecision::FailTenant);
    }

    #[tokio::test]
    async fn returns_requeued_tenant_when_it_is_due() {
        let stop = AtomicBool::new(false);
        let queue = Queue::new(&stop, None);
        queue.enqueue(vec![job().tenant, job().tenant]);
        let (first, second) = (queue.next().await.unwrap(), queue.next().await.unwrap());
        let (id, other) = (first.tenant.id, second.tenant.id);
        queue.requeue(first, Duration::from_millis(20));
        queue.requeue(second, Duration::ZERO);
        assert_eq!(queue.next().await.unwrap().tenant.id, other);
        assert_eq!(queue.next().await.unwrap().tenant.id, id);
    }
}
