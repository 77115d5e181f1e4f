//! The tenants that are still to be worked on, and the count of those that have been.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tenantry_registry::TenantId;
use tokio::time::{Instant, sleep, sleep_until};

use super::{FailureLimit, FleetTenant, StopReason, Summary};

/// One tenant in the queue.
pub(super) struct Job {
    pub(super) member: FleetTenant,
    /// How often it has been tried in vain.
    pub(super) tries: u32,
    /// How often somebody else had it in hand.
    pub(super) busy: u32,
    /// Since when its server cannot be reached.
    pub(super) away_since: Option<Instant>,
    not_before: Instant,
}

pub(super) struct Queue<'a> {
    stop: &'a AtomicBool,
    limit: Option<FailureLimit>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    in_hand: usize,
    seen: HashSet<TenantId>,
    planned: usize,
    closed: Option<StopReason>,
    last_answer: Option<Instant>,
    /// Since when no server has answered.
    away_since: Option<Instant>,
    summary: Summary,
}

/// How a job ended.
pub(super) enum JobResult {
    Done,
    Skipped,
    Failed,
}

/// Whether a server that does not answer is waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutageDecision {
    Retry,
    /// Others answer.
    FailTenant,
    FailRun,
}

impl<'a> Queue<'a> {
    pub(super) fn new(stop: &'a AtomicBool, limit: Option<FailureLimit>) -> Self {
        Self { stop, limit, state: Mutex::default() }
    }

    /// Those that have not been planned for yet.
    pub(super) fn unseen(&self, members: Vec<FleetTenant>) -> Vec<FleetTenant> {
        let mut state = self.state();
        members.into_iter().filter(|member| state.seen.insert(member.id)).collect()
    }

    /// Counts tenants that are going to be worked on, and returns how many there are by now.
    pub(super) fn plan(&self, tenants: usize) -> usize {
        let mut state = self.state();
        state.planned += tenants;
        state.planned
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { stopped: self.stopped(), ..self.state().summary }
    }

    /// Why no more tenants are begun, if that is so.
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

    /// Begins no more tenants.
    pub(super) fn close(&self, why: StopReason) {
        self.state().closed.get_or_insert(why);
    }

    pub(super) fn fill(&self, members: Vec<FleetTenant>) {
        let not_before = Instant::now();
        let job = |member| Job { member, tries: 0, busy: 0, away_since: None, not_before };
        self.state().jobs.extend(members.into_iter().map(job));
    }

    /// Counts what was not begun.
    pub(super) fn empty(&self) {
        let mut state = self.state();
        state.summary.not_started += state.jobs.len();
        state.jobs.clear();
    }

    /// The next one, when its time has come; None when there is nothing more to do.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            if self.stopped().is_some() {
                return None;
            }
            let job = {
                let mut state = self.state();
                let job = state.jobs.pop_front();
                match &job {
                    Some(_) => state.in_hand += 1,
                    None if state.in_hand == 0 => return None,
                    // One in hand may come back to the queue.
                    None => {}
                }
                job
            };
            let Some(job) = job else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            if job.not_before > Instant::now() {
                // Not all of it: the run may be stopped meanwhile.
                let pause = Instant::now() + Duration::from_millis(100);
                sleep_until(job.not_before.min(pause)).await;
                self.put_back(job);
                continue;
            }
            return Some(job);
        }
    }

    /// To be tried again, after all others and not before `pause` is over.
    pub(super) fn again(&self, mut job: Job, pause: Duration) {
        job.not_before = Instant::now() + pause;
        self.put_back(job);
    }

    fn put_back(&self, job: Job) {
        let mut state = self.state();
        state.in_hand -= 1;
        state.jobs.push_back(job);
    }

    pub(super) fn end(&self, end: &JobResult) {
        let mut state = self.state();
        state.in_hand -= 1;
        match end {
            JobResult::Done => state.summary.done += 1,
            JobResult::Skipped => state.summary.skipped += 1,
            JobResult::Failed => state.summary.failed += 1,
        }
    }

    /// A server has answered, with success or not.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.last_answer = Some(Instant::now());
        state.away_since = None;
    }

    /// The server of this tenant has not answered: for how long is that borne?
    pub(super) fn away(&self, job: &mut Job, longest: Duration) -> OutageDecision {
        let now = Instant::now();
        let mut state = self.state();
        let all_since = *state.away_since.get_or_insert(now);
        let since = *job.away_since.get_or_insert(now);
        if now - since >= longest && state.last_answer.is_some_and(|last| last > since) {
            OutageDecision::FailTenant
        // Asked of all: of many tenants each would begin to wait when its turn comes.
        } else if now - all_since >= longest {
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
    use tokio::time::{Instant, sleep};

    use super::{Job, OutageDecision, Queue};
    use crate::FleetTenant;

    fn job() -> Job {
        let schema = "tenant_1".parse().unwrap();
        let (id, set) = (TenantId::generate(), String::new());
        let member = FleetTenant { id, slug: None, schema, version: None, set };
        Job { member, tries: 0, busy: 0, away_since: None, not_before: Instant::now() }
    }

    #[tokio::test]
    async fn a_server_that_stays_away_is_not_waited_for_by_each_tenant_anew() {
        let stop = AtomicBool::new(false);
        let queue = Queue::new(&stop, None);
        let (mut first, longest) = (job(), Duration::from_millis(20));
        assert_eq!(queue.away(&mut first, Duration::from_secs(3600)), OutageDecision::Retry);
        sleep(longest).await;
        assert_eq!(queue.away(&mut job(), longest), OutageDecision::FailRun);
        assert_eq!(queue.away(&mut first, longest), OutageDecision::FailRun);

        queue.answered();
        assert_eq!(queue.away(&mut job(), Duration::from_secs(3600)), OutageDecision::Retry);
        assert_eq!(queue.away(&mut first, longest), OutageDecision::FailTenant);
    }
}
