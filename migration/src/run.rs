use std::{iter::Peekable, time::Duration, vec::IntoIter};

use entity::registry::{TenantId, tenant};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, PaginatorTrait,
    TransactionTrait,
    sea_query::{Order, Query},
};
use sea_orm_migration::{MigratorTraitSelf, seaql_migrations};

use crate::{
    Action, AnyMigrator, Error, Target,
    alone::{Alone, Sessions},
    announce,
    claim::{Claim, Claimant, Scope, Scoped, claim, record_version, registry_exists},
    plan::{Step, plan},
    provision::ddl,
    scope::{Watch, confirm_schema, guard},
};

/// What a run did to a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Migrations that were applied, in that order.
    pub applied: Vec<String>,
    /// Migrations that were rolled back, in that order.
    pub rolled_back: Vec<String>,
}

/// How far a schema is migrated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<String>,
    /// Migrations that are still to be applied, oldest first.
    pub pending: Vec<String>,
}

/// How long one tenant's migration may wait and work; `None` is as the server has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For each lock (`lock_timeout`).
    pub lock: Option<Duration>,
    /// For each statement (`statement_timeout`).
    pub statement: Option<Duration>,
}

/// Carries out `action` on one schema.
///
/// Everything happens in one transaction – but for migrations that ask for none
/// (`use_transaction() == Some(false)`): each of these runs by itself, and what came before it is
/// committed first. A second run on the same schema waits.
///
/// # Errors
/// [`Error::MissingSchema`] when the schema does not exist, [`Error::UnknownVersion`] when the
/// wanted version is none, [`Error::UnknownBreaking`] when a breaking migration is none,
/// [`Error::RegistryInUse`] when the registry would be lost with tenants in it: nothing is changed
/// then. [`Error::Migration`] when a migration fails: the transaction it was part of is undone.
pub async fn run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    action: &Action,
    timeouts: Timeouts,
) -> Result<Outcome, Error> {
    migrator.confirm_breaking()?;
    let sessions = Sessions::default();
    let run = Run { db, target, migrator, action, timeouts, sessions: &sessions };
    match run.carry_out(Claimant::Patient).await? {
        Ran::Done(outcome, tenant) => {
            if let Some(tenant) = tenant.filter(|_| outcome.changed()) {
                announce(db, &[tenant]).await?;
            }
            Ok(outcome)
        }
        // Who waits gets the schema, or an error.
        Ran::Busy | Ran::Gone => Ok(Outcome::default()),
    }
}

/// What is to be done with one schema.
pub(crate) struct Run<'a> {
    pub(crate) db: &'a DatabaseConnection,
    pub(crate) target: &'a Target,
    pub(crate) migrator: &'a AnyMigrator,
    pub(crate) action: &'a Action,
    pub(crate) timeouts: Timeouts,
    pub(crate) sessions: &'a Sessions,
}

/// How it ended.
pub(crate) enum Ran {
    /// It is done, for the tenant of this key if the schema is a tenant's.
    Done(Outcome, Option<TenantId>),
    /// Somebody else has the claim and is not waited for.
    Busy,
    /// The tenant is no more.
    Gone,
}

impl Run<'_> {
    /// Does it. Each round is a transaction that claims the schema; nearly always there is one.
    pub(crate) async fn carry_out(&self, claimant: Claimant<'_>) -> Result<Ran, Error> {
        let Self { db, target, migrator, action, timeouts, sessions } = *self;
        let mut outcome = Outcome::default();
        let mut steps: Option<Peekable<IntoIter<Step>>> = None;
        loop {
            let txn = db.begin().await?;
            let scope = Scope { target, migrator, timeouts };
            let (claim, tenant, mut scoped) = match claimant {
                Claimant::Member(member) => {
                    let (claim, scoped) = scope.claim_member(&txn, member).await?;
                    (claim, Some(member.id), scoped)
                }
                Claimant::Patient => {
                    guard(&txn).await?;
                    let tenant = claim(&txn, target).await?;
                    if *target == Target::Registry {
                        prepare_registry(&txn, action).await?;
                    }
                    (Claim::Ours, tenant, scope.set(&txn).await?)
                }
            };
            match claim {
                Claim::Ours => {}
                // Taken between two rounds of ours.
                Claim::Busy if steps.is_some() => {
                    txn.rollback().await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Claim::Busy => return Ok(Ran::Busy),
                Claim::Gone => return Ok(Ran::Gone),
            }
            // Outside a transaction a step must be the first of its round, so that the claim is all
            // that this one holds.
            if let Some(step) = steps.as_mut().and_then(|rest| rest.next_if(Step::alone)) {
                let alone = Alone { db, target, migrator, timeouts: &timeouts, sessions };
                let mut state = alone.run(&txn, &step).await?;
                if !step.done(&state) {
                    step.settle(&mut state);
                    outcome.add(&step);
                }
                if tenant.is_some() {
                    record_version(&txn, target, &state, migrator).await?;
                }
                txn.commit().await?;
                if steps.as_mut().is_none_or(|rest| rest.peek().is_none()) {
                    return Ok(Ran::Done(outcome, tenant));
                }
                continue;
            }
            // What is there is not looked at when it is going to be dropped.
            let fresh = *action == Action::Fresh && steps.is_none();
            scoped.installed &= !fresh;
            let mut state = state_in(&txn, target, migrator, scoped).await?;
            if fresh {
                for sql in fresh_sql(target) {
                    ddl(&txn, &sql).await?;
                }
            }
            let rest = match &mut steps {
                Some(rest) => rest,
                none => none.insert(plan(migrator, &state, action)?.into_iter().peekable()),
            };
            // The claim was free between two rounds: what somebody else has done by now is left
            // out.
            if rest.peek().is_some_and(|step| !step.alone()) {
                let watch = Watch::begin(&txn, target).await?;
                if !scoped.installed {
                    migrator.install(&txn).await?;
                }
                while let Some(step) = rest.next_if(|step| !step.alone()) {
                    if !step.done(&state) {
                        step.run_in(&txn, &watch, migrator).await?;
                        step.settle(&mut state);
                        outcome.add(&step);
                    }
                }
            }
            let more = rest.peek().is_some();
            if tenant.is_some() {
                record_version(&txn, target, &state, migrator).await?;
            }
            txn.commit().await?;
            if !more {
                return Ok(Ran::Done(outcome, tenant));
            }
        }
    }
}

/// How far one schema is migrated. Changes nothing, not even to make a migrations table.
///
/// # Errors
/// [`Error::MissingSchema`] or [`Error::MissingRegistry`]; [`Error::UnknownMigrations`] when
/// migrations are on record that this build does not have.
pub async fn state(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
) -> Result<State, Error> {
    let txn = db.begin().await?;
    let state = state_within(&txn, target, migrator).await?;
    txn.rollback().await?;
    Ok(state)
}

/// [`state`] in the caller's transaction, which is in the schema's scope from now on.
pub(crate) async fn state_within(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &AnyMigrator,
) -> Result<State, Error> {
    let scope = Scope { target, migrator, timeouts: Timeouts::default() };
    let scoped = scope.set(txn).await?;
    state_in(txn, target, migrator, scoped).await
}

/// The state of the schema in whose scope the transaction is, after it has been confirmed that the
/// schema is there.
async fn state_in(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &AnyMigrator,
    scoped: Scoped,
) -> Result<State, Error> {
    confirm_schema(txn, target).await?;
    let mut recorded: Vec<String> = Vec::new();
    if scoped.installed {
        let version = seaql_migrations::Column::Version;
        let select = Query::select()
            .column(version)
            .from(migrator.migration_table_name())
            .order_by(version, Order::Asc)
            .take();
        for row in txn.query_all(&select).await? {
            recorded.push(row.try_get_by_index(0)?);
        }
    }
    state_of(target, migrator, recorded)
}

/// The state of a schema with these migrations on record.
pub(crate) fn state_of(
    target: &Target,
    migrator: &AnyMigrator,
    recorded: Vec<String>,
) -> Result<State, Error> {
    let (applied, pending) = migrator.names().into_iter().partition(|it| recorded.contains(it));
    let state = State { applied, pending };
    let known = |name: &String| state.applied.contains(name);
    let names: Vec<String> = recorded.into_iter().filter(|name| !known(name)).collect();
    if names.is_empty() {
        return Ok(state);
    }
    Err(Error::UnknownMigrations { schema: target.name().to_owned(), names })
}

impl State {
    /// The newest migration before which none is missing. One that came later than its number
    /// says, by a merge, is pending however many newer ones are applied.
    pub(crate) fn version(&self, migrator: &AnyMigrator) -> Option<String> {
        let applied = |name: &String| self.applied.contains(name);
        migrator.names().into_iter().take_while(applied).last()
    }

    /// The newest applied migration that code without it cannot work with.
    pub(crate) fn contract(&self, migrator: &AnyMigrator) -> Option<String> {
        let breaking = |name: &&String| migrator.breaking().contains(&name.as_str());
        self.applied.iter().rev().find(breaking).cloned()
    }
}

impl Outcome {
    /// Whether anything was done.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.applied.is_empty() || !self.rolled_back.is_empty()
    }

    pub(crate) fn add(&mut self, step: &Step) {
        let names = if step.up { &mut self.applied } else { &mut self.rolled_back };
        names.push(step.migration.name().to_owned());
    }
}

impl Timeouts {
    /// As settings of PostgreSQL, in milliseconds.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        [("lock_timeout", self.lock), ("statement_timeout", self.statement)]
            .into_iter()
            .filter_map(|(name, time)| Some((name, Self::setting(time)?)))
            .collect()
    }

    pub(crate) fn setting(time: Option<Duration>) -> Option<String> {
        time.map(|time| time.as_millis().to_string())
    }
}

/// The registry's schema is made by the first run.
async fn prepare_registry(txn: &DatabaseTransaction, action: &Action) -> Result<(), Error> {
    if let Action::Up(_) = action {
        ddl(txn, &create_registry_sql()).await?;
    } else if registry_exists(txn).await? {
        // A tenant that is being created right now counts too.
        ddl(txn, r#"LOCK TABLE "registry"."tenants" IN ACCESS EXCLUSIVE MODE"#).await?;
        keep_tenants(txn).await?;
    }
    Ok(())
}

/// The registry is not given up while it holds tenants.
pub(crate) async fn keep_tenants(txn: &DatabaseTransaction) -> Result<(), Error> {
    match tenant::Entity::find().count(txn).await? {
        0 => Ok(()),
        tenants => Err(Error::RegistryInUse { tenants }),
    }
}

/// The statements that empty a schema. `CREATE SCHEMA` is one of its own, as in provisioning.
pub(crate) fn fresh_sql(target: &Target) -> [String; 2] {
    let schema = target.quoted();
    [format!("DROP SCHEMA {schema} CASCADE"), format!("CREATE SCHEMA {schema}")]
}

pub(crate) fn create_registry_sql() -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", Target::Registry.quoted())
}
