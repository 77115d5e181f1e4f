use std::time::Duration;

use entity::registry::tenant;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    PaginatorTrait, Statement, TransactionTrait,
    sea_query::{Order, Query},
};
use sea_orm_migration::{MigratorTraitSelf, SchemaManager, seaql_migrations};

use crate::{
    Action, AnyMigrator, Error, Target,
    alone::run_alone,
    claim::{Patience, claim, record_version, registry_exists},
    enter, leave,
    plan::{Step, plan},
    provision::ddl,
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
/// wanted version is none, [`Error::RegistryInUse`] when the registry would be lost with tenants
/// in it: nothing is changed then. [`Error::Migration`] when a migration fails: the transaction it
/// was part of is undone.
pub async fn run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    action: &Action,
    timeouts: Timeouts,
) -> Result<Outcome, Error> {
    let outcome = run_claimed(db, target, migrator, action, timeouts, Patience::Wait).await?;
    Ok(outcome.unwrap_or_default())
}

/// [`run`]; `None` when somebody else has the claim and is not to be waited for.
pub(crate) async fn run_claimed(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    action: &Action,
    timeouts: Timeouts,
    patience: Patience,
) -> Result<Option<Outcome>, Error> {
    let mut outcome = Outcome::default();
    let mut steps: Option<std::iter::Peekable<std::vec::IntoIter<Step>>> = None;
    loop {
        let txn = db.begin().await?;
        if !claim(&txn, target, if steps.is_none() { patience } else { Patience::Wait }).await? {
            return Ok(None);
        }
        set_timeouts(&txn, timeouts).await?;
        if *target == Target::Registry {
            prepare_registry(&txn, action).await?;
        }
        let before = enter(&txn, target).await?;
        if *action == Action::Fresh && steps.is_none() {
            for sql in fresh_sql(target) {
                ddl(&txn, &sql).await?;
            }
        }
        let mut state = state_in(&txn, target, migrator).await?;
        let rest = match &mut steps {
            Some(rest) => rest,
            none => none.insert(plan(target, migrator, &state, action)?.into_iter().peekable()),
        };
        // The claim was free between two rounds: what somebody else has done by now is left out.
        // Outside a transaction a step must be the first of its round, so that the claim is all
        // that this one holds.
        if let Some(step) = rest.next_if(Step::alone) {
            if !step.done(&state) {
                run_alone(&txn, db, target, migrator, &step, &timeouts).await?;
                outcome.add(&step);
            }
        } else {
            if state.applied.is_empty() && rest.peek().is_some() {
                migrator.install(&txn).await?;
            }
            while let Some(step) = rest.next_if(|step| !step.alone()) {
                if !step.done(&state) {
                    step.run_in(&txn, target, migrator).await?;
                    step.settle(&mut state);
                    outcome.add(&step);
                }
            }
        }
        let more = rest.peek().is_some();
        let state = state_in(&txn, target, migrator).await?;
        leave(&txn, &before).await?;
        record_version(&txn, target, &state, migrator).await?;
        txn.commit().await?;
        if !more {
            return Ok(Some(outcome));
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
    enter(&txn, target).await?;
    let state = state_in(&txn, target, migrator).await?;
    txn.rollback().await?;
    Ok(state)
}

/// The state of the schema that `search_path` points to, which is that of `target`.
pub(crate) async fn state_in(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &AnyMigrator,
) -> Result<State, Error> {
    let recorded = recorded(txn, migrator).await?;
    let (applied, pending) = migrator.names().into_iter().partition(|it| recorded.contains(it));
    let state = State { applied, pending };
    let known = |name: &String| state.applied.contains(name);
    let names: Vec<String> = recorded.into_iter().filter(|name| !known(name)).collect();
    if names.is_empty() {
        return Ok(state);
    }
    Err(Error::UnknownMigrations { schema: target.name().to_owned(), names })
}

/// The names in the migrations table, if there is one.
async fn recorded(txn: &DatabaseTransaction, migrator: &AnyMigrator) -> Result<Vec<String>, DbErr> {
    let table = migrator.migration_table_name();
    if !SchemaManager::new(txn).has_table(table.to_string()).await? {
        return Ok(Vec::new());
    }
    let select = Query::select()
        .column(seaql_migrations::Column::Version)
        .from(table)
        .order_by(seaql_migrations::Column::Version, Order::Asc)
        .to_owned();
    let rows = txn.query_all(&select).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
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
    fn add(&mut self, step: &Step) {
        let names = if step.up { &mut self.applied } else { &mut self.rolled_back };
        names.push(step.migration.name().to_owned());
    }
}

impl Timeouts {
    /// As settings of PostgreSQL, in milliseconds.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        [("lock_timeout", self.lock), ("statement_timeout", self.statement)]
            .into_iter()
            .filter_map(|(name, time)| Some((name, time?.as_millis().to_string())))
            .collect()
    }
}

async fn set_timeouts(txn: &DatabaseTransaction, timeouts: Timeouts) -> Result<(), DbErr> {
    for (name, value) in timeouts.settings() {
        let set = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT set_config($1, $2, true)",
            [name.into(), value.into()],
        );
        txn.execute_raw(set).await?;
    }
    Ok(())
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
