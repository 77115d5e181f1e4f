pub(crate) mod commits;
pub(crate) mod dry_run;
mod invalid_indexes;
pub(crate) mod non_transactional;
pub(crate) mod outside;
pub(crate) mod step;
pub(crate) mod transactions;

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, PaginatorTrait, TransactionTrait,
    sea_query::{Order, Query},
};
use sea_orm_migration::{MigratorTraitSelf, seaql_migrations};
use tenantry_registry::tenant;

use crate::{
    Action, DynMigrator, Error, Target, confirm_extensions,
    error::privilege::explain,
    lock::{LockMode, Scope, Scoped},
    plan::Step,
    run::non_transactional::Sessions,
    run::transactions::{MigrationRun, RunResult},
    search_path::confirm_schema,
};

/// How long a lock is waited for at one go.
const ATTEMPT: Duration = Duration::from_millis(100);

/// What a run did to a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationOutcome {
    /// Migrations that were applied, in that order.
    pub applied: Vec<String>,
    /// Migrations that were rolled back, in that order.
    pub rolled_back: Vec<String>,
    /// Whether each was committed by itself, as PostgreSQL refused them in one transaction
    /// (SQLSTATE 55P04 or 55006).
    pub committed_each: bool,
}

/// How far a schema is migrated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationState {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<String>,
    /// Migrations that are still to be applied, oldest first.
    pub pending: Vec<String>,
}

/// How long one tenant's migration may wait and work; `None` is as the server has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For locks. What waits for a lock on a table holds up all who want the table after it, so it
    /// waits for a tenth of a second, lets them through, and tries again until this time is over.
    /// Zero waits without an end, at one go; what runs outside a transaction waits at one go too.
    pub lock: Option<Duration>,
    /// For transactions that are older than a `CREATE INDEX CONCURRENTLY` or the like, of any
    /// tenant: it waits until they have ended, and nothing waits for it meanwhile. Zero waits without
    /// an end. Instead of [`lock`](Self::lock), for each statement with `CONCURRENTLY` outside a
    /// transaction.
    pub snapshot: Option<Duration>,
    /// For each statement (`statement_timeout`).
    pub statement: Option<Duration>,
}

/// Carries out `action` on one schema.
///
/// Everything happens in one transaction – but for migrations that ask for none
/// (`use_transaction() == Some(false)`): each of these runs by itself, and what came before it is
/// committed first. If PostgreSQL wants a commit between two migrations ([`DbErrorKind::NeedsCommit`](crate::DbErrorKind::NeedsCommit)),
/// all is rolled back and done again with a commit after each, see [`MigrationOutcome::committed_each`]. A
/// second run on the same schema waits.
///
/// # Errors
/// [`Error::MissingSchema`] when the schema does not exist, [`Error::UnknownVersion`] when the
/// wanted version is none, [`Error::UnknownBreaking`] when a breaking migration is none,
/// [`Error::RegistryInUse`] when the registry would be lost with tenants in it: nothing is changed
/// then. [`Error::Migration`] when a migration fails: the transaction it was part of is undone.
pub async fn run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
    action: &Action,
    timeouts: Timeouts,
) -> Result<MigrationOutcome, Error> {
    migrator.validate_breaking()?;
    confirm_extensions(db, migrator).await?;
    let sessions = Sessions::default();
    let run = MigrationRun { db, target, migrator, action, timeouts, sessions: &sessions };
    let ran = match run.execute(LockMode::Wait).await {
        Ok(ran) => ran,
        Err(error) => return Err(explain(db, target, error).await),
    };
    match ran {
        RunResult::Completed(outcome, tenant) => {
            if let Some(tenant) = tenant.filter(|_| outcome.changed()) {
                tenantry_registry::notify::notify_all(db, &[tenant]).await?;
            }
            Ok(outcome)
        }
        // Who waits gets the schema, or an error.
        RunResult::Locked | RunResult::TenantGone => Ok(MigrationOutcome::default()),
    }
}

/// How far one schema is migrated. Changes nothing, not even to make a migrations table.
///
/// # Errors
/// [`Error::MissingSchema`] or [`Error::MissingRegistry`]; [`Error::UnknownMigrations`] when
/// migrations are on record that this build does not have. Those of the registry are left out; see
/// [`confirm_registry`](crate::confirm_registry).
pub async fn state(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<MigrationState, Error> {
    let txn = db.begin().await?;
    let state = state_within(&txn, target, migrator).await?;
    txn.rollback().await?;
    Ok(state)
}

/// [`state`] in the caller's transaction, which is in the schema's scope from now on.
pub(crate) async fn state_within(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<MigrationState, Error> {
    let scope = Scope { target, migrator, timeouts: Timeouts::default() };
    let scoped = scope.set(txn).await?;
    state_in(txn, target, migrator, scoped).await
}

/// The state of the schema in whose scope the transaction is, after it has been confirmed that the
/// schema is there.
pub(crate) async fn state_in(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &DynMigrator,
    scoped: Scoped,
) -> Result<MigrationState, Error> {
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
    migrator: &DynMigrator,
    recorded: Vec<String>,
) -> Result<MigrationState, Error> {
    let (applied, pending) = migrator.names().into_iter().partition(|it| recorded.contains(it));
    let state = MigrationState { applied, pending };
    let known = |name: &String| state.applied.contains(name);
    let names: Vec<String> = recorded.into_iter().filter(|name| !known(name)).collect();
    // Of the registry they are known to do no harm: see `confirm_registry`.
    if names.is_empty() || *target == Target::Registry {
        return Ok(state);
    }
    Err(Error::UnknownMigrations { schema: target.name().to_owned(), names })
}

impl MigrationState {
    /// The newest migration before which none is missing. One that came later than its number
    /// says, by a merge, is pending however many newer ones are applied.
    pub(crate) fn version(&self, migrator: &DynMigrator) -> Option<String> {
        let applied = |name: &String| self.applied.contains(name);
        migrator.names().into_iter().take_while(applied).last()
    }
}

impl MigrationOutcome {
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
    /// Those of one attempt.
    pub(crate) fn attempt(self) -> Self {
        let lock = self.lock.map(|lock| if lock.is_zero() { lock } else { lock.min(ATTEMPT) });
        Self { lock, ..self }
    }

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

/// The registry is not given up while it holds tenants.
pub(crate) async fn ensure_no_tenants(txn: &DatabaseTransaction) -> Result<(), Error> {
    match tenant::Entity::find_living().count(txn).await? {
        0 => Ok(()),
        tenants => Err(Error::RegistryInUse { tenants }),
    }
}

/// The statements that empty a schema. `CREATE SCHEMA` is one of its own, as in provisioning.
pub(crate) fn recreate_schema_sql(target: &Target) -> [String; 2] {
    let schema = target.quoted();
    [format!("DROP SCHEMA {schema} CASCADE"), format!("CREATE SCHEMA {schema}")]
}

pub(crate) fn create_registry_sql() -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", Target::Registry.quoted())
}
