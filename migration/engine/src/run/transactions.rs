//! Carrying out an action on one schema, in as many transactions as it takes.

use std::time::Duration;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, QueryTrait, TransactionTrait,
    sea_query::Expr,
};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::TenantId;
use tokio::time::{Instant, sleep};

use crate::{
    Action, DbErrorKind, DynMigrator, Error, MigrationOutcome, MigrationState, Target, Timeouts,
    confirm_registry,
    lock::{LockMode, LockResult, Scope, claim, registry_exists, version_update},
    plan::{Step, plan},
    provision::dependents::{confirm_no_dependents, lock_tables},
    provision::execute_batch,
    registry::compatibility::{confirm_known, record_breaking},
    run::commits,
    run::non_transactional::{NonTransactional, Sessions},
    run::{create_registry_sql, ensure_no_tenants, recreate_schema_sql, state_in},
    search_path::{SchemaGuard, guard},
    session::{close, reset, roll_back},
};

/// How often a transaction is repeated that lost a race for an object of the database.
const RACES: u32 = 5;

/// How long a server that takes no writes is waited for, by what is no fleet run: another one may
/// be promoted.
const OUTAGE: Duration = Duration::from_secs(60);

/// How long those are let through who want the tables that a lock was waited for on.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// What is to be done with one schema.
pub(crate) struct MigrationRun<'a> {
    pub(crate) db: &'a DatabaseConnection,
    pub(crate) target: &'a Target,
    pub(crate) migrator: &'a DynMigrator,
    pub(crate) action: &'a Action,
    pub(crate) timeouts: Timeouts,
    pub(crate) sessions: &'a Sessions,
}

/// How it ended.
pub(crate) enum RunResult {
    /// It is done, for the tenant of this key if the schema is a tenant's.
    Completed(MigrationOutcome, Option<TenantId>),
    /// Somebody else has the claim and is not waited for.
    Locked,
    /// The tenant is no more.
    TenantGone,
}

/// How far it has come.
#[derive(Default)]
struct Progress {
    /// All steps, as soon as they are known.
    steps: Option<Vec<Step>>,
    /// How many of them are done.
    done: usize,
    outcome: MigrationOutcome,
    /// Whether each of them is committed by itself.
    commits: bool,
}

/// How a transaction ended.
enum Round {
    /// It is committed.
    Committed {
        more: bool,
        tenant: Option<TenantId>,
    },
    Busy,
    Gone,
}

impl MigrationRun<'_> {
    /// Does it. Each round is a transaction that claims the schema; nearly always there is one. A
    /// round that waits for a lock in vain is repeated, as long as [`Timeouts::lock`] says; one that
    /// lost a race, some times.
    pub(crate) async fn execute(&self, claimant: LockMode<'_>) -> Result<RunResult, Error> {
        let mut progress = Progress::default();
        let (mut begun, mut races) = (Instant::now(), 0);
        loop {
            let planned = progress.steps.is_some();
            let (done, outcome) = (progress.done, progress.outcome.clone());
            let pause = |error: &Error| self.pause(claimant, error, begun, races);
            match self.round(claimant, &mut progress).await {
                Ok(Round::Committed { more: true, .. }) => (begun, races) = (Instant::now(), 0),
                Ok(Round::Committed { tenant, .. }) => {
                    return Ok(RunResult::Completed(progress.outcome, tenant));
                }
                // Taken between two rounds of ours.
                Ok(Round::Busy) if planned => sleep(Duration::from_millis(50)).await,
                Ok(Round::Busy) => return Ok(RunResult::Locked),
                Ok(Round::Gone) => return Ok(RunResult::TenantGone),
                // The step that fails is not the first of its transaction.
                Err(error) if commits::are_wanted(&error) && progress.done > done => {
                    tracing::info!(schema = self.target.name(), %error, "to be run with commits");
                    (progress.done, progress.outcome) = (done, outcome);
                    progress.steps = progress.steps.filter(|_| planned);
                    progress.commits = true;
                    progress.outcome.committed_each = true;
                }
                Err(error) => {
                    let Some(pause) = pause(&error) else { return Err(error) };
                    (progress.done, progress.outcome) = (done, outcome);
                    progress.steps = progress.steps.filter(|_| planned);
                    races += u32::from(error.db_error_kind() != Some(DbErrorKind::LockTimeout));
                    sleep(pause).await;
                }
            }
        }
    }

    /// After which time a round that has failed is repeated; None if it is not.
    fn pause(
        &self,
        claimant: LockMode<'_>,
        error: &Error,
        begun: Instant,
        races: u32,
    ) -> Option<Duration> {
        match error.db_error_kind()? {
            DbErrorKind::LockTimeout => {
                let lock = self.timeouts.lock?;
                (begun.elapsed() + PAUSE < lock).then_some(PAUSE)
            }
            // A fleet run has its own patience.
            DbErrorKind::ReadOnly => {
                let waits = matches!(claimant, LockMode::Wait) && begun.elapsed() < OUTAGE;
                waits.then_some(Duration::from_millis(500))
            }
            fault => pause_after_race(&fault, races),
        }
    }

    async fn round(&self, claimant: LockMode<'_>, progress: &mut Progress) -> Result<Round, Error> {
        let txn = self.db.begin().await?;
        let round = self.round_in(&txn, claimant, progress).await;
        // A rollback is waited for, as the claim is wanted again. Where it fails the connection is
        // gone.
        match round {
            Ok(Round::Committed { .. }) => txn.commit().await?,
            Ok(_) => drop(txn.rollback().await),
            // Behind the same address there may be another server by now.
            Err(ref error) if error.db_error_kind() == Some(DbErrorKind::ReadOnly) => {
                drop(close(txn).await);
            }
            Err(_) => drop(roll_back(txn).await),
        }
        round
    }

    async fn round_in(
        &self,
        txn: &DatabaseTransaction,
        claimant: LockMode<'_>,
        progress: &mut Progress,
    ) -> Result<Round, Error> {
        let Self { db, target, migrator, action, timeouts, sessions } = *self;
        let scope = Scope { target, migrator, timeouts: timeouts.attempt() };
        let (tenant, mut scoped) = match claimant {
            LockMode::SkipLocked(member) => match scope.claim_member(txn, member).await? {
                (LockResult::Acquired, scoped) => (Some(member.id), scoped),
                (LockResult::HeldByOther, _) => return Ok(Round::Busy),
                (LockResult::TenantGone, _) => return Ok(Round::Gone),
            },
            LockMode::Wait => {
                guard(txn).await?;
                let tenant = claim(txn, target).await?;
                let scoped = scope.set(txn).await?;
                if *target == Target::Registry {
                    prepare_registry(txn, migrator, action).await?;
                }
                (tenant, scoped)
            }
        };
        // Outside a transaction a step must be the first of its round, so that the claim is all
        // that this one holds.
        let Progress { steps, done, outcome, commits } = progress;
        let next = steps.as_ref().and_then(|steps| steps.get(*done));
        if let Some(step) = next.filter(|step| step.alone()) {
            let alone = NonTransactional { db, target, migrator, timeouts: &timeouts, sessions };
            let mut state = alone.run(txn, step).await?;
            if !step.is_satisfied_by(&state) {
                step.apply_to(&mut state);
                outcome.add(step);
            }
            *done += 1;
            self.finish(txn, tenant, &state).await?;
            let more = steps.as_ref().is_some_and(|steps| *done < steps.len());
            return Ok(Round::Committed { more, tenant });
        }
        // What is there is not looked at when it is going to be dropped.
        let fresh = matches!(action, Action::Fresh { .. }) && steps.is_none();
        scoped.installed &= !fresh;
        let mut state = state_in(txn, target, migrator, scoped).await?;
        if fresh {
            if *action == (Action::Fresh { cascade: false }) {
                lock_tables(txn, target.name()).await?;
                confirm_no_dependents(txn, target).await?;
            }
            for sql in recreate_schema_sql(target) {
                execute_batch(txn, &sql).await?;
            }
        }
        let steps = match steps {
            Some(steps) => steps,
            none => none.insert(plan(migrator, &state, action)?),
        };
        // The claim was free between two rounds: what somebody else has done by now is left out.
        if steps.get(*done).is_some_and(|step| !step.alone()) {
            let watch = SchemaGuard::begin(txn, target, migrator).await?;
            if !scoped.installed {
                migrator.install(txn).await?;
            }
            while let Some(step) = steps.get(*done).filter(|step| !step.alone()) {
                if !step.is_satisfied_by(&state) {
                    step.run_in(txn, &watch, migrator).await?;
                    step.apply_to(&mut state);
                    outcome.add(step);
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

    /// Writes the version of a tenant to the registry, and resets the session for whichever tenant
    /// is next, in one round trip. Constraints are checked before, while `search_path` is still
    /// the one under which the rows were written.
    async fn finish(
        &self,
        txn: &DatabaseTransaction,
        tenant: Option<TenantId>,
        state: &MigrationState,
    ) -> Result<(), Error> {
        let mut sql = format!("SET CONSTRAINTS ALL IMMEDIATE; {}", reset());
        if *self.target == Target::Registry {
            record_breaking(txn, self.migrator, state).await?;
        }
        if tenant.is_some() {
            let now = Expr::current_timestamp();
            let update = version_update(self.target, state, self.migrator, now);
            sql = format!("{sql};\n{}", update.build(DbBackend::Postgres));
        }
        Ok(execute_batch(txn, &sql).await?)
    }
}

/// After which time a transaction is repeated that has lost its `races + 1`st race; None if it is
/// not. An object that exists, and is not just being made, still exists then.
#[must_use]
pub fn pause_after_race(fault: &DbErrorKind, races: u32) -> Option<Duration> {
    let most = match fault {
        DbErrorKind::CatalogRace => RACES,
        DbErrorKind::DuplicateObject => 1,
        _ => return None,
    };
    // Rivals do not all come back at the same moment.
    let jitter = u64::from(TenantId::generate().as_uuid().as_bytes()[15]) % 50;
    (races < most).then(|| Duration::from_millis((25 << races.min(6)) + jitter))
}

/// The registry's schema is made by the first run.
async fn prepare_registry(
    txn: &DatabaseTransaction,
    migrator: &DynMigrator,
    action: &Action,
) -> Result<(), Error> {
    confirm_registry(txn, migrator).await?;
    if let Action::Up(_) = action {
        execute_batch(txn, &create_registry_sql()).await?;
    } else if registry_exists(txn).await? {
        // A tenant that is being created right now counts too.
        execute_batch(txn, r#"LOCK TABLE "registry"."tenants" IN ACCESS EXCLUSIVE MODE"#).await?;
        ensure_no_tenants(txn).await?;
    }
    if !matches!(action, Action::Up(_) | Action::Fresh { .. }) {
        confirm_known(txn, migrator).await?;
    }
    Ok(())
}
