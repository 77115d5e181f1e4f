//! The workers of a fleet run.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::DatabaseConnection;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    Event, FleetOptions, FleetTenant, StopReason,
    batch::BatchRunner,
    failure::record_failure,
    notifier::ChangeNotifier,
    queue::{Job, JobResult, OutageDecision, Queue},
};
use crate::{
    Action, DbErrorKind, DynMigrator, Error, Target,
    error::privilege::explain,
    lock::LockMode,
    run::non_transactional::Sessions,
    run::transactions::{MigrationRun, PAUSE, RunResult},
};

pub(super) struct Workers<'a, R> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) migrator: &'a DynMigrator,
    pub(super) action: &'a Action,
    pub(super) fleet: &'a FleetOptions,
    pub(super) news: &'a ChangeNotifier<'a>,
    pub(super) batches: &'a BatchRunner<'a>,
    pub(super) report: &'a R,
    pub(super) sessions: Sessions,
    /// How many tenants have failed for a missing right.
    pub(super) denied: AtomicUsize,
    /// Whether tenants have lost races for an object that all of them change. Then they take turns.
    pub(super) racing: AtomicBool,
    pub(super) turn: Mutex<()>,
}

/// So many tenants fail for a missing right before no more are begun, if none was migrated.
const DENIED: usize = 3;

/// What to do after a failure.
enum RetryDecision {
    Retry(Duration),
    FailTenant,
    /// The server is gone for everybody.
    FailRun,
}

impl<R: Fn(&Event<'_>) + Sync> Workers<'_, R> {
    /// Counts the tenants to be worked on, and says so.
    pub(super) fn plan(&self, queue: &Queue<'_>, members: &[FleetTenant]) {
        let total = queue.plan(members.len());
        self.batches.tenants.store(total, Ordering::Relaxed);
        (self.report)(&Event::Planned { total });
    }

    /// Works through `members`, until all have ended or no more are to be begun.
    pub(super) async fn work(&self, queue: &Queue<'_>, members: Vec<FleetTenant>) {
        queue.fill(members);
        let pool = self.db.get_postgres_connection_pool().options().get_max_connections();
        let jobs = self.fleet.jobs.clamp(1, pool as usize);
        join_all((0..jobs).map(|_| self.worker(queue))).await;
        queue.empty();
    }

    async fn worker(&self, queue: &Queue<'_>) {
        while let Some(mut job) = queue.next().await {
            let begun = Instant::now();
            let ran = self.migrate(&job).await;
            if !ran
                .as_ref()
                .is_err_and(|error| error.db_error_kind().is_some_and(|it| is_away(&it)))
            {
                queue.answered();
            }
            match ran {
                Ok(RunResult::Completed(outcome, _)) => {
                    let changed = outcome.changed();
                    if changed {
                        self.news.changed(job.member.id);
                    }
                    let took = begun.elapsed();
                    (self.report)(&Event::Done { tenant: &job.member, outcome: &outcome, took });
                    queue.end(if changed { &JobResult::Done } else { &JobResult::Skipped });
                }
                // Dropped or, a spare, become a tenant: then it is found as such.
                Ok(RunResult::TenantGone) => queue.end(&JobResult::Skipped),
                // In somebody else's hand, who may be finished soon.
                Ok(RunResult::Locked) => {
                    let pause = Duration::from_millis(50 << job.busy.min(4));
                    job.busy += 1;
                    queue.again(job, pause);
                }
                Err(error) => match self.verdict(&mut job, &error, queue) {
                    RetryDecision::Retry(pause) => {
                        let (member, tries) = (&job.member, job.tries);
                        tracing::info!(%member, tries, %error, "to be tried again");
                        queue.again(job, pause);
                    }
                    verdict => {
                        if matches!(verdict, RetryDecision::FailRun) {
                            queue.close(StopReason::Unavailable);
                        }
                        let error = self.explained(&job.member, error, queue).await;
                        self.fail(&job.member, &error).await;
                        queue.end(&JobResult::Failed);
                    }
                },
            }
        }
    }

    async fn migrate(&self, job: &Job) -> Result<RunResult, Error> {
        let racing = || self.racing.load(Ordering::Relaxed);
        let _turn = if racing() { Some(self.turn.lock().await) } else { None };
        let ran = self.try_to_migrate(job).await;
        if ran.as_ref().is_err_and(|error| error.db_error_kind() == Some(DbErrorKind::CatalogRace))
        {
            self.racing.store(true, Ordering::Relaxed);
        }
        ran
    }

    async fn try_to_migrate(&self, job: &Job) -> Result<RunResult, Error> {
        let target = Target::Schema(job.member.schema.clone());
        let Self { db, migrator, action, fleet, .. } = *self;
        let claimant = LockMode::SkipLocked(&job.member);
        let timeouts = fleet.timeouts;
        let sessions = &self.sessions;
        let run = MigrationRun { db, target: &target, migrator, action, timeouts, sessions };
        // The last try tells which migration fails, and the second who is in the way.
        if job.tries + 1 == fleet.max_attempts || job.busy > 0 {
            return run.execute(claimant).await;
        }
        match self.batches.migrate(db, &job.member).await {
            Ok(Some(outcome)) => return Ok(RunResult::Completed(outcome, Some(job.member.id))),
            Ok(None) => return run.execute(claimant).await,
            // Waited for no longer than for a moment, so that nobody was held up.
            Err(error) if error.db_error_kind() == Some(DbErrorKind::LockTimeout) => {
                sleep(PAUSE).await;
            }
            Err(error) if passes(&error) => return Err(error),
            Err(_) => {}
        }
        // PostgreSQL tells of an error before it lets go of the row that was locked.
        for pause in [0, 1, 10] {
            sleep(Duration::from_millis(pause)).await;
            let ran = run.execute(claimant).await?;
            if !matches!(ran, RunResult::Locked) {
                return Ok(ran);
            }
        }
        Ok(RunResult::Locked)
    }

    fn verdict(&self, job: &mut Job, error: &Error, queue: &Queue<'_>) -> RetryDecision {
        match error.db_error_kind() {
            Some(fault) if is_away(&fault) => match queue.away(job, self.fleet.outage_timeout) {
                OutageDecision::Retry => RetryDecision::Retry(Duration::from_millis(500)),
                OutageDecision::FailTenant => RetryDecision::FailTenant,
                OutageDecision::FailRun => RetryDecision::FailRun,
            },
            Some(_) if passes(error) && job.tries + 1 < self.fleet.max_attempts => {
                job.tries += 1;
                // Jittered by the tenant's key, so that rivals do not meet again.
                let jitter = job.member.id.as_uuid().as_u128() % 100;
                RetryDecision::Retry(Duration::from_millis(
                    (100 << job.tries.min(6)) + jitter as u64,
                ))
            }
            _ => RetryDecision::FailTenant,
        }
    }

    /// Of many tenants that fail for a missing right, the first one's error says whose it is.
    async fn explained(&self, member: &FleetTenant, error: Error, queue: &Queue<'_>) -> Error {
        if error.db_error_kind() != Some(DbErrorKind::InsufficientPrivilege) {
            return error;
        }
        let before = self.denied.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= DENIED && queue.summary().done == 0 {
            queue.close(StopReason::Privilege);
        }
        if before > 0 {
            return error;
        }
        explain(self.db, &Target::Schema(member.schema.clone()), error).await
    }

    async fn fail(&self, member: &FleetTenant, error: &Error) {
        // That this program is older than the schema is no fault of the tenant's.
        let noted = match error {
            Error::UnknownMigrations { .. } => Ok(()),
            error => record_failure(self.db, member, error).await,
        };
        if let Err(error) = noted {
            tracing::warn!(%member, %error, "the failure could not be noted");
        }
        (self.report)(&Event::Failed { tenant: member, error });
    }
}

/// Whether the node of this tenant is down, or the whole server.
fn is_away(fault: &DbErrorKind) -> bool {
    // A server that takes no writes may be a standby that is promoted soon.
    matches!(fault, DbErrorKind::Unavailable | DbErrorKind::PoolTimeout | DbErrorKind::ReadOnly)
}

/// Whether another try may go better.
fn passes(error: &Error) -> bool {
    error.db_error_kind().is_some_and(|fault| {
        is_away(&fault)
            || matches!(
                fault,
                DbErrorKind::SerializationConflict
                    | DbErrorKind::LockTimeout
                    | DbErrorKind::CatalogRace
            )
    })
}
