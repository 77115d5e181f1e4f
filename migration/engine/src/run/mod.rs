//! Runs that migrate one schema.

pub(crate) mod commits;
mod dry_run;
mod invalid_indexes;
mod non_transactional;
mod outside;
pub(crate) mod schema_guard;
mod step;
mod transactions;

use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait};
use sea_orm_migration::MigratorTraitSelf;

pub use dry_run::dry_run;
pub use invalid_indexes::{InvalidIndex, invalid_indexes};
pub(crate) use non_transactional::SessionCheck;
pub use transactions::pause_after_race;
pub(crate) use transactions::{MigrationRun, PAUSE, RunResult, backoff};

use crate::{
    Action, DynMigrator, Error, MigrationOutcome, MigrationState, Target, Timeouts,
    confirm_extensions,
    error::privilege::explain,
    lock::{LockMode, TransactionSettings},
    registry::compatibility::confirm_audit,
    search_path::ensure_schema_exists,
    shared::ensure_not_shared,
    sql::{
        query::{column, scalar},
        quoted,
    },
};

/// Runs `action` on one schema.
///
/// Everything happens in one transaction, except for non-transactional migrations
/// (`use_transaction() == Some(false)`): the migrations before such a migration are committed first.
/// If PostgreSQL requires a commit between two migrations
/// ([`DbErrorKind::NeedsCommit`](crate::DbErrorKind::NeedsCommit)), everything is rolled back and
/// repeated with a commit after each, see [`MigrationOutcome::committed_each`]. A second run on the
/// same schema waits.
///
/// # Errors
/// [`Error::MissingSchema`] if the schema does not exist, [`Error::UnknownVersion`] if there is no
/// such version, [`Error::SharedSchema`], [`Error::UnknownBreaking`], [`Error::RegistryInUse`] if the registry has tenants
/// and would be dropped, [`Error::RegistryBehind`] if it is older than this program needs: nothing is
/// changed then. [`Error::Migration`] if a migration fails: its
/// transaction is rolled back.
pub async fn run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
    action: &Action,
    timeouts: Timeouts,
) -> Result<MigrationOutcome, Error> {
    migrator.validate_breaking()?;
    ensure_not_shared(target, migrator)?;
    confirm_extensions(db, migrator).await?;
    if let Target::Schema(_) = target {
        confirm_audit(db).await?;
    }
    let sessions = SessionCheck::default();
    let run = MigrationRun { db, target, migrator, action, timeouts, sessions: &sessions };
    match run.execute(LockMode::Wait).await {
        Ok(RunResult::Completed(outcome, tenant)) => {
            if let Some(tenant) = tenant.filter(|_| outcome.changed()) {
                tenantry_registry::notify::notify_all(db, &[tenant]).await?;
            }
            Ok(outcome)
        }
        // Not with LockMode::Wait.
        Ok(RunResult::Locked | RunResult::TenantGone) => Ok(MigrationOutcome::default()),
        Err(error) => Err(explain(db, target, error).await),
    }
}

/// Returns the applied and pending migrations of one schema. Changes nothing; does not create the
/// migrations table.
///
/// # Errors
/// [`Error::MissingSchema`] or [`Error::MissingRegistry`]; [`Error::UnknownMigrations`] if the
/// schema has migrations that this build does not have. Those of the registry are ignored; see
/// [`confirm_registry`](crate::confirm_registry).
pub async fn state(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<MigrationState, Error> {
    ensure_not_shared(target, migrator)?;
    let txn = db.begin().await?;
    let state = state_in(&txn, target, migrator).await?;
    txn.rollback().await?;
    Ok(state)
}

/// [`state`] in the caller's transaction, whose `search_path` it sets.
async fn state_in(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<MigrationState, Error> {
    let settings = TransactionSettings { target, migrator, timeouts: Timeouts::default() };
    let installed = settings.apply(txn).await?;
    read_state(txn, target, migrator, installed).await
}

/// The state of the schema that `search_path` is set to. `installed` is whether it has a migrations
/// table.
async fn read_state(
    txn: &DatabaseTransaction,
    target: &Target,
    migrator: &DynMigrator,
    installed: bool,
) -> Result<MigrationState, Error> {
    ensure_schema_exists(txn, target).await?;
    let rows = match installed {
        // Without the schema's name, so that the statement is prepared once for all tenants.
        true => {
            let table = quoted(&migrator.migration_table_name().to_string());
            column(txn, format!(r#"SELECT "version" FROM {table} ORDER BY "version""#), []).await?
        }
        false => Vec::new(),
    };
    MigrationState::of(target, migrator, rows)
}

/// Returns an error if the registry has tenants.
async fn ensure_no_tenants(txn: &DatabaseTransaction) -> Result<(), Error> {
    let sql = "SELECT count(*) FROM registry.tenants WHERE status <> 'dropped'";
    match scalar::<i64>(txn, sql, []).await? {
        Some(tenants) if tenants > 0 => {
            Err(Error::RegistryInUse { tenants: tenants.unsigned_abs() })
        }
        _ => Ok(()),
    }
}

/// The statements that empty a schema, to be sent one by one: see
/// [`create_schema_sql`](crate::provision::create_schema_sql).
fn recreate_schema_sql(target: &Target) -> [String; 2] {
    let schema = target.quoted();
    [format!("DROP SCHEMA {schema} CASCADE"), format!("CREATE SCHEMA {schema}")]
}

fn create_registry_sql() -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", Target::Registry.quoted())
}
