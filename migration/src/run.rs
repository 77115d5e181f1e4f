use std::time::Duration;

use entity::registry::tenant;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, Statement, TransactionTrait,
    sea_query::Expr,
};
use sea_orm_migration::MigratorTraitSelf;

use crate::{AnyMigrator, Error, Target, enter, leave, provision::ddl};

/// What to do with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Apply pending migrations: all of them, or only so many.
    Up(Option<u32>),
    /// Roll back this many of the newest migrations.
    Down(u32),
    /// Drop the schema with everything in it, create it again and apply every migration.
    Fresh,
}

/// What a run did to a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Migrations that were applied, in that order.
    pub applied: Vec<String>,
    /// Migrations that were rolled back, in that order.
    pub rolled_back: Vec<String>,
}

/// How far a schema is migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<String>,
    /// Migrations that are still to be applied, oldest first.
    pub pending: Vec<String>,
}

/// Carries out `action` on one schema, all of it in one transaction.
///
/// The lock on the tenant's registry row is the claim on the schema: a second run on the same
/// tenant waits for it, and a crash releases it. A schema without a registry row (and the registry
/// itself) is guarded by an advisory lock instead.
///
/// # Errors
/// [`Error::MissingSchema`] when the schema does not exist, [`Error::Migration`] when a migration
/// fails, [`Error::RegistryInUse`] when the registry would be lost with tenants in it. Nothing is
/// changed in any of these cases.
pub async fn run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    action: Action,
) -> Result<Outcome, Error> {
    let txn = db.begin().await?;
    claim(&txn, target).await?;
    if *target == Target::Registry {
        prepare_registry(&txn, action).await?;
    }
    let before = enter(&txn, target).await?;
    let failed = |source| Error::Migration { schema: target.name().to_owned(), source };
    let old = state_in(&txn, migrator).await.map_err(failed)?;
    match action {
        Action::Up(steps) => migrator.up(&txn, steps).await.map_err(failed)?,
        Action::Down(steps) => migrator.down(&txn, Some(steps)).await.map_err(failed)?,
        Action::Fresh => {
            recreate(&txn, target).await?;
            migrator.up(&txn, None).await.map_err(failed)?;
        }
    }
    let new = state_in(&txn, migrator).await.map_err(failed)?;
    leave(&txn, target, &before).await?;
    if *target != Target::Registry {
        record_version(&txn, target, new.applied.last().cloned()).await?;
    }
    txn.commit().await?;
    Ok(Outcome::between(&old, &new, action))
}

/// How far one schema is migrated. Changes nothing, not even to make a migrations table.
///
/// # Errors
/// [`Error::MissingSchema`] when the schema does not exist; [`Error::Migration`] when migrations
/// are on record that this build does not have.
pub async fn state(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
) -> Result<State, Error> {
    let txn = db.begin().await?;
    enter(&txn, target).await?;
    let state = state_in(&txn, migrator)
        .await
        .map_err(|source| Error::Migration { schema: target.name().to_owned(), source })?;
    txn.rollback().await?;
    Ok(state)
}

/// The state of the schema that `search_path` points to.
pub(crate) async fn state_in(
    txn: &DatabaseTransaction,
    migrator: &AnyMigrator,
) -> Result<State, DbErr> {
    let mut state = State { applied: Vec::new(), pending: Vec::new() };
    for migration in migrator.get_migration_with_status_read_only(txn).await? {
        match migration.status() {
            sea_orm_migration::MigrationStatus::Applied => &mut state.applied,
            sea_orm_migration::MigrationStatus::Pending => &mut state.pending,
        }
        .push(migration.name().to_owned());
    }
    Ok(state)
}

impl Outcome {
    fn between(old: &State, new: &State, action: Action) -> Self {
        let without = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter().filter(|name| !b.contains(name)).cloned().collect()
        };
        match action {
            Action::Fresh => Self { applied: new.applied.clone(), rolled_back: Vec::new() },
            _ => Self {
                applied: without(&new.applied, &old.applied),
                rolled_back: without(&old.applied, &new.applied).into_iter().rev().collect(),
            },
        }
    }
}

/// Writes the version of a tenant's schema to its registry row, and clears the last failure.
/// A schema without a row has no version to keep.
pub(crate) async fn record_version(
    txn: &DatabaseTransaction,
    target: &Target,
    version: Option<String>,
) -> Result<(), Error> {
    if !registry_exists(txn).await? {
        return Ok(());
    }
    tenant::Entity::update_many()
        .col_expr(tenant::Column::SchemaVersion, Expr::value(version))
        .col_expr(tenant::Column::MigrationError, Expr::value(None::<String>))
        .col_expr(tenant::Column::MigrationAttempts, Expr::value(0))
        .col_expr(tenant::Column::UpdatedAt, Expr::value(entity::now()))
        .filter(tenant::Column::Schema.eq(target.name()))
        .exec(txn)
        .await?;
    Ok(())
}

async fn registry_exists(txn: &DatabaseTransaction) -> Result<bool, DbErr> {
    let statement = Statement::from_string(
        DbBackend::Postgres,
        "SELECT to_regclass('registry.tenants') IS NOT NULL",
    );
    match txn.query_one_raw(statement).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(false),
    }
}

async fn claim(txn: &DatabaseTransaction, target: &Target) -> Result<(), Error> {
    if *target != Target::Registry && registry_exists(txn).await? {
        let row = tenant::Entity::find()
            .select_only()
            .column(tenant::Column::Id)
            .filter(tenant::Column::Schema.eq(target.name()))
            .lock_exclusive()
            .into_tuple::<entity::registry::TenantId>()
            .one(txn)
            .await?;
        if row.is_some() {
            return Ok(());
        }
    }
    // Tried in a loop: waiting inside PostgreSQL for an advisory lock deadlocks with a
    // CREATE INDEX CONCURRENTLY that runs under the same lock.
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))",
        [format!("tenantry migration of {target}").into()],
    );
    loop {
        let row = txn.query_one_raw(statement.clone()).await?;
        if row.map(|row| row.try_get_by_index::<bool>(0)).transpose()? == Some(true) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The registry's schema is made by the first run; it is not given up while it holds tenants.
async fn prepare_registry(txn: &DatabaseTransaction, action: Action) -> Result<(), Error> {
    if let Action::Up(_) = action {
        ddl(txn, &create_registry_sql()).await?;
    } else if registry_exists(txn).await? {
        let tenants = tenant::Entity::find().count(txn).await?;
        if tenants > 0 {
            return Err(Error::RegistryInUse { tenants });
        }
    }
    Ok(())
}

async fn recreate(txn: &DatabaseTransaction, target: &Target) -> Result<(), Error> {
    for sql in fresh_sql(target) {
        ddl(txn, &sql).await?;
    }
    Ok(())
}

/// The statements that empty a schema. `CREATE SCHEMA` is one of its own, as in provisioning.
pub(crate) fn fresh_sql(target: &Target) -> [String; 2] {
    let schema = target.quoted();
    [format!("DROP SCHEMA {schema} CASCADE"), format!("CREATE SCHEMA {schema}")]
}

pub(crate) fn create_registry_sql() -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", Target::Registry.quoted())
}
