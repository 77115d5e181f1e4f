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
    run::{MigrationRun, PAUSE, RunResult, SessionCheck, backoff},
};

pub(super) struct Workers<'a, R> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) migrator: &'a DynMigrator,
    pub(super) action: &'a Action,
    pub(super) options: &'a FleetOptions,
    pub(super) notifier: &'a ChangeNotifier<'a>,
    pub(super) batches: &'a BatchRunner<'a>,
    pub(super) report: &'a R,
    pub(super) sessions: SessionCheck,
    /// Tenants that failed for insufficient privilege.
    pub(super) denied: AtomicUsize,
    /// Whether tenants have lost catalog races. Then they run one at a time.
    pub(super) racing: AtomicBool,
    pub(super) turn: Mutex<()>,
}

/// Tenants that fail for insufficient privilege before the run stops, if none was migrated.
const MAX_DENIED: usize = 3;

enum RetryDecision {
    Retry(Duration),
    FailTenant,
    FailRun,
}

impl<R: Fn(&Event<'_>) + Sync> Workers<'_, R> {
    /// Adds tenants to the number that the run works on, and reports it.
    pub(super) fn plan(&self, queue: &Queue<'_>, tenants: &[FleetTenant]) {
        let total = queue.plan(tenants.len());
        self.batches.tenants.store(total, Ordering::Relaxed);
        (self.report)(&Event::Planned { total });
    }

    /// Migrates `tenants` until all are finished or no more are to be started.
    pub(super) async fn work(&self, queue: &Queue<'_>, tenants: Vec<FleetTenant>) {
        queue.enqueue(tenants);
        let pool = self.db.get_postgres_connection_pool().options().get_max_connections();
        let jobs = self.options.jobs.clamp(1, pool as usize);
        join_all((0..jobs).map(|_| self.worker(queue))).await;
        queue.drain();
    }

    async fn worker(&self, queue: &Queue<'_>) {
        while let Some(mut job) = queue.next().await {
            let started = Instant::now();
            let ran = self.migrate(&job).await;
            if !ran.as_ref().is_err_and(is_unavailable) {
                queue.server_responded();
            }
            match ran {
                Ok(RunResult::Completed(outcome, _)) => {
                    let changed = outcome.changed();
                    if changed {
                        self.notifier.add(job.tenant.id);
                    }
                    let took = started.elapsed();
                    (self.report)(&Event::Done { tenant: &job.tenant, outcome: &outcome, took });
                    queue.finish(if changed { &JobResult::Done } else { &JobResult::Skipped });
                }
                // Dropped, or a spare that became a tenant and is found again as such.
                Ok(RunResult::TenantGone) => queue.finish(&JobResult::Skipped),
                Ok(RunResult::Locked) => {
                    let pause = Duration::from_millis(50 << job.locked.min(4));
                    job.locked += 1;
                    queue.requeue(job, pause);
                }
                Err(error) => self.handle_error(queue, job, error).await,
            }
        }
    }

    async fn handle_error(&self, queue: &Queue<'_>, mut job: Job, error: Error) {
        match self.decide(&mut job, &error, queue) {
            RetryDecision::Retry(pause) => {
                let (tenant, attempts) = (&job.tenant, job.attempts);
                tracing::info!(%tenant, attempts, %error, "retrying");
                queue.requeue(job, pause);
            }
            decision => {
                if matches!(decision, RetryDecision::FailRun) {
                    queue.close(StopReason::Unavailable);
                }
                let error = self.explained(&job.tenant, error, queue).await;
                self.fail(&job.tenant, &error).await;
                queue.finish(&JobResult::Failed);
            }
        }
    }

    async fn migrate(&self, job: &Job) -> Result<RunResult, Error> {
        let racing = || self.racing.load(Ordering::Relaxed);
        let _turn = if racing() { Some(self.turn.lock().await) } else { None };
        let ran = self.attempt(job).await;
        if ran.as_ref().is_err_and(|it| it.db_error_kind() == Some(DbErrorKind::CatalogRace)) {
            self.racing.store(true, Ordering::Relaxed);
        }
        ran
    }

    async fn attempt(&self, job: &Job) -> Result<RunResult, Error> {
        let target = Target::Schema(job.tenant.schema.clone());
        let Self { db, migrator, action, options, .. } = *self;
        let mode = LockMode::SkipLocked(job.tenant.id, &job.tenant.schema);
        let (timeouts, sessions) = (options.timeouts, &self.sessions);
        let run = MigrationRun { db, target: &target, migrator, action, timeouts, sessions };
        // Not batched: the last attempt, to know which migration fails, and attempts after the
        // tenant was locked, to know whether it still is.
        if job.attempts + 1 == options.max_attempts || job.locked > 0 {
            return run.execute(mode).await;
        }
        match self.batches.migrate(db, &job.tenant).await {
            Ok(Some(outcome)) => return Ok(RunResult::Completed(outcome, Some(job.tenant.id))),
            Ok(None) => return run.execute(mode).await,
            Err(error) if error.db_error_kind() == Some(DbErrorKind::LockTimeout) => {
                sleep(PAUSE).await;
            }
            Err(error) if is_transient(&error) => return Err(error),
            Err(_) => {}
        }
        // PostgreSQL reports an error before it releases the row lock of the failed batch.
        for pause in [0, 1, 10] {
            sleep(Duration::from_millis(pause)).await;
            let ran = run.execute(mode).await?;
            if !matches!(ran, RunResult::Locked) {
                return Ok(ran);
            }
        }
        Ok(RunResult::Locked)
    }

    fn decide(&self, job: &mut Job, error: &Error, queue: &Queue<'_>) -> RetryDecision {
        if is_unavailable(error) {
            return match queue.server_unreachable(job, self.options.outage_timeout) {
                OutageDecision::Retry => RetryDecision::Retry(Duration::from_millis(500)),
                OutageDecision::FailTenant => RetryDecision::FailTenant,
                OutageDecision::FailRun => RetryDecision::FailRun,
            };
        }
        if is_transient(error) && job.attempts + 1 < self.options.max_attempts {
            job.attempts += 1;
            return RetryDecision::Retry(backoff(100, job.attempts));
        }
        RetryDecision::FailTenant
    }

    /// If many tenants fail for insufficient privilege, only the first error gets the details.
    async fn explained(&self, tenant: &FleetTenant, error: Error, queue: &Queue<'_>) -> Error {
        if error.db_error_kind() != Some(DbErrorKind::InsufficientPrivilege) {
            return error;
        }
        let before = self.denied.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= MAX_DENIED && queue.summary().done == 0 {
            queue.close(StopReason::Privilege);
        }
        if before > 0 {
            return error;
        }
        explain(self.db, &Target::Schema(tenant.schema.clone()), error).await
    }

    async fn fail(&self, tenant: &FleetTenant, error: &Error) {
        let recorded = match error {
            // Not a failure of the tenant: this program is older than its schema.
            Error::UnknownMigrations { .. } => Ok(()),
            error => record_failure(self.db, tenant, error).await,
        };
        if let Err(error) = recorded {
            tracing::warn!(%tenant, %error, "the failure was not recorded in the registry");
        }
        (self.report)(&Event::Failed { tenant, error });
    }
}

/// Whether the server is down. A node of a cluster that is down concerns its tenants only.
fn is_unavailable(error: &Error) -> bool {
    // A read-only server may be a standby that is about to be promoted.
    matches!(
        error.db_error_kind(),
        Some(DbErrorKind::Unavailable | DbErrorKind::PoolTimeout | DbErrorKind::ReadOnly)
    )
}

fn is_transient(error: &Error) -> bool {
    is_unavailable(error)
        || matches!(
            error.db_error_kind(),
            Some(
                DbErrorKind::SerializationConflict
                    | DbErrorKind::LockTimeout
                    | DbErrorKind::CatalogRace
                    | DbErrorKind::NodeUnavailable
            )
        )
}
