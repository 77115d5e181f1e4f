//! Execution of an action on one schema, in as many transactions as it needs.

use std::time::Duration;

use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::TenantId;
use tokio::time::{Instant, sleep};

use super::{
    commits, create_registry_sql, ensure_no_tenants,
    non_transactional::{NonTransactional, SessionCheck},
    read_state, recreate_schema_sql,
    schema_guard::SchemaGuard,
};
use crate::{
    Action, DbErrorKind, DynMigrator, Error, MigrationOutcome, MigrationState, Target, Timeouts,
    citus::keep_local,
    confirm_registry,
    lock::{
        LockMode, LockResult, TransactionSettings, lock_schema, registry_exists, version_update_sql,
    },
    plan::{Step, plan},
    provision::{ensure_no_dependents, lock_tables},
    registry::compatibility::{confirm_known, record_breaking},
    session::{close, limit_idle_time, reset_sql, roll_back},
    shared,
    sql::query::execute_batch,
};

/// Attempts after a catalog race.
const MAX_RACES: u32 = 5;

/// How long a run outside a fleet retries while the server is read-only: a standby may be promoted.
const READ_ONLY_LIMIT: Duration = Duration::from_secs(60);

/// Pause after a lock timeout, in which statements that queued behind the lock can run.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// Run of an action on one schema.
pub(crate) struct MigrationRun<'a> {
    pub(crate) db: &'a DatabaseConnection,
    pub(crate) target: &'a Target,
    pub(crate) migrator: &'a DynMigrator,
    pub(crate) action: &'a Action,
    pub(crate) timeouts: Timeouts,
    pub(crate) sessions: &'a SessionCheck,
}

pub(crate) enum RunResult {
    /// With the key of the tenant, if the schema is a tenant's.
    Completed(MigrationOutcome, Option<TenantId>),
    /// Another run holds the lock.
    Locked,
    TenantGone,
}

#[derive(Default)]
struct Progress {
    /// All steps, once they are planned.
    steps: Option<Vec<Step>>,
    /// Number of completed steps.
    done: usize,
    outcome: MigrationOutcome,
    /// Whether each step is committed separately.
    commits: bool,
}

/// Result of one transaction.
enum Round {
    Committed { more: bool, tenant: Option<TenantId> },
    Locked,
    TenantGone,
}

impl MigrationRun<'_> {
    /// Executes the action. Each round is a transaction that locks the schema; usually there is
    /// one. A round that ends in a lock timeout is retried until [`Timeouts::lock`], a round that
    /// lost a catalog race up to [`MAX_RACES`] times.
    pub(crate) async fn execute(&self, mode: LockMode<'_>) -> Result<RunResult, Error> {
        let mut progress = Progress::default();
        let (mut started, mut races) = (Instant::now(), 0);
        loop {
            let planned = progress.steps.is_some();
            let (done, outcome) = (progress.done, progress.outcome.clone());
            match self.round(mode, &mut progress).await {
                Ok(Round::Committed { more: true, .. }) => (started, races) = (Instant::now(), 0),
                Ok(Round::Committed { tenant, .. }) => {
                    return Ok(RunResult::Completed(progress.outcome, tenant));
                }
                // Another run took the lock between two rounds of this one.
                Ok(Round::Locked) if planned => sleep(Duration::from_millis(50)).await,
                Ok(Round::Locked) => return Ok(RunResult::Locked),
                Ok(Round::TenantGone) => return Ok(RunResult::TenantGone),
                Err(error) => {
                    // The first step of a transaction does not need a commit before it.
                    let commits = commits::are_needed(&error) && progress.done > done;
                    if commits {
                        tracing::info!(
                            schema = self.target.name(), %error,
                            "retrying with a commit after each migration"
                        );
                    } else {
                        let Some(pause) = self.pause(mode, &error, started, races) else {
                            return Err(error);
                        };
                        races += u32::from(error.db_error_kind() != Some(DbErrorKind::LockTimeout));
                        sleep(pause).await;
                    }
                    (progress.done, progress.outcome) = (done, outcome);
                    progress.steps = progress.steps.filter(|_| planned);
                    progress.commits |= commits;
                    progress.outcome.committed_each |= commits;
                }
            }
        }
    }

    /// Pause before a failed round is retried; `None` if it is not.
    fn pause(
        &self,
        mode: LockMode<'_>,
        error: &Error,
        started: Instant,
        races: u32,
    ) -> Option<Duration> {
        match error.db_error_kind()? {
            DbErrorKind::LockTimeout => {
                let lock = self.timeouts.lock?;
                (started.elapsed() + PAUSE < lock).then_some(PAUSE)
            }
            // A fleet run retries by itself.
            DbErrorKind::ReadOnly => {
                let waits = matches!(mode, LockMode::Wait) && started.elapsed() < READ_ONLY_LIMIT;
                waits.then_some(Duration::from_millis(500))
            }
            kind => pause_after_race(&kind, races),
        }
    }

    async fn round(&self, mode: LockMode<'_>, progress: &mut Progress) -> Result<Round, Error> {
        let txn = self.db.begin().await?;
        let round = self.round_in(&txn, mode, progress).await;
        // Waits for a rollback, because the next round needs the lock. If the rollback fails, the
        // connection is lost.
        match &round {
            Ok(Round::Committed { .. }) => txn.commit().await?,
            Ok(_) => drop(txn.rollback().await),
            // The address may lead to another server by now.
            Err(error) if error.db_error_kind() == Some(DbErrorKind::ReadOnly) => {
                drop(close(txn).await);
            }
            Err(_) => drop(roll_back(txn).await),
        }
        round
    }

    async fn round_in(
        &self,
        txn: &DatabaseTransaction,
        mode: LockMode<'_>,
        progress: &mut Progress,
    ) -> Result<Round, Error> {
        let Self { db, target, migrator, action, timeouts, sessions } = *self;
        let settings = TransactionSettings { target, migrator, timeouts: timeouts.attempt() };
        let (tenant, mut installed) = match mode {
            LockMode::SkipLocked(id, schema) => {
                match settings.try_lock_tenant(txn, id, schema).await? {
                    LockResult::Acquired { installed } => (Some(id), installed),
                    LockResult::HeldByOther => return Ok(Round::Locked),
                    LockResult::TenantGone => return Ok(Round::TenantGone),
                }
            }
            LockMode::Wait => {
                limit_idle_time(txn).await?;
                let tenant = lock_schema(txn, target).await?;
                let installed = settings.apply(txn).await?;
                match target {
                    Target::Registry => prepare_registry(txn, migrator, action).await?,
                    Target::Shared(_) => shared::prepare(txn, target, migrator, action).await?,
                    Target::Schema(_) => {}
                }
                (tenant, installed)
            }
        };
        let Progress { steps, done, outcome, commits } = progress;
        // A non-transactional step must be the first of its round, so that this transaction holds
        // nothing but the lock.
        let next = steps.as_ref().and_then(|steps| steps.get(*done));
        if let Some(step) = next.filter(|step| !step.is_transactional()) {
            let run = NonTransactional { db, target, migrator, timeouts: &timeouts, sessions };
            let mut state = run.execute(txn, step).await?;
            if !step.is_satisfied_by(&state) {
                step.apply_to(&mut state, outcome);
            }
            *done += 1;
            self.finish(txn, tenant, &state).await?;
            let more = steps.as_ref().is_some_and(|steps| *done < steps.len());
            return Ok(Round::Committed { more, tenant });
        }
        // The migrations table of a schema that is about to be dropped is not read.
        let fresh = matches!(action, Action::Fresh { .. }) && steps.is_none();
        installed &= !fresh;
        let mut state = read_state(txn, target, migrator, installed).await?;
        if fresh {
            if *action == (Action::Fresh { cascade: false }) {
                lock_tables(txn, target.name()).await?;
                ensure_no_dependents(txn, target).await?;
            }
            if !matches!(target, Target::Schema(_)) {
                keep_local(txn).await?;
            }
            for sql in recreate_schema_sql(target) {
                execute_batch(txn, &sql).await?;
            }
        }
        let steps = match steps {
            Some(steps) => steps,
            none => none.insert(plan(migrator, &state, action)?),
        };
        if steps.get(*done).is_some_and(Step::is_transactional) {
            let guard = SchemaGuard::begin(txn, target, migrator).await?;
            if !installed {
                migrator.install(txn).await?;
            }
            while let Some(step) = steps.get(*done).filter(|step| step.is_transactional()) {
                // Another run may have done it between two rounds of this one.
                if !step.is_satisfied_by(&state) {
                    step.run_in(txn, &guard, migrator).await?;
                    step.apply_to(&mut state, outcome);
                }
                *done += 1;
                if *commits {
                    break;
                }
            }
        }
        let more = *done < steps.len();
        self.finish(txn, tenant, &state).await?;
        Ok(Round::Committed { more, tenant })
    }

    /// Writes the version of a tenant to the registry, and resets the session for the next tenant,
    /// in one round trip. First checks constraints, under the `search_path` with which the rows
    /// were written.
    async fn finish(
        &self,
        txn: &DatabaseTransaction,
        tenant: Option<TenantId>,
        state: &MigrationState,
    ) -> Result<(), Error> {
        let mut sql = format!("SET CONSTRAINTS ALL IMMEDIATE; {}", reset_sql());
        if *self.target == Target::Registry {
            record_breaking(txn, self.migrator, state).await?;
        }
        if tenant.is_some() {
            sql = format!("{sql};\n{}", version_update_sql(self.target, state, self.migrator));
        }
        Ok(execute_batch(txn, &sql).await?)
    }
}

/// Returns how long to wait before a transaction is retried that failed with an error of this kind
/// after `races` earlier retries; `None` if it should not be retried. A duplicate object is retried
/// once, in case another transaction has just created the object.
#[must_use]
pub fn pause_after_race(kind: &DbErrorKind, races: u32) -> Option<Duration> {
    let max = match kind {
        DbErrorKind::CatalogRace => MAX_RACES,
        DbErrorKind::DuplicateObject => 1,
        _ => return None,
    };
    (races < max).then(|| backoff(25, races))
}

/// Exponential backoff: `base` milliseconds, doubled for each retry up to the sixth, plus a random
/// part of up to 50 ms, so that competing transactions do not meet again.
pub(crate) fn backoff(base: u64, retries: u32) -> Duration {
    let random = u64::from(TenantId::generate().as_uuid().as_bytes()[15]) % 50;
    Duration::from_millis((base << retries.min(6)) + random)
}

/// The first run creates the registry's schema.
async fn prepare_registry(
    txn: &DatabaseTransaction,
    migrator: &DynMigrator,
    action: &Action,
) -> Result<(), Error> {
    confirm_registry(txn, migrator).await?;
    if let Action::Up(_) = action {
        // Without the statement if it exists: PostgreSQL requires the privilege all the same.
        if !shared::exists(txn, &Target::Registry).await? {
            keep_local(txn).await?;
            execute_batch(txn, &create_registry_sql()).await?;
        }
    } else if registry_exists(txn).await? {
        // Also waits for tenants that are being created.
        execute_batch(txn, r#"LOCK TABLE "registry"."tenants" IN ACCESS EXCLUSIVE MODE"#).await?;
        ensure_no_tenants(txn).await?;
    }
    if !matches!(action, Action::Up(_) | Action::Fresh { .. }) {
        confirm_known(txn, &Target::Registry, migrator).await?;
    }
    Ok(())
}
