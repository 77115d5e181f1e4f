//! The claim on a schema while it is migrated, and what is written to the registry under it.

use std::time::{Duration, Instant};

use entity::registry::{TenantId, tenant};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryFilter,
    QuerySelect, Statement, UpdateMany,
    sea_query::{Expr, LockBehavior, LockType},
};

use crate::{AnyMigrator, Error, State, Target};

/// How long to wait for the claim on a schema that is no tenant's.
const LONGEST: Duration = Duration::from_secs(60);

/// What to do when somebody else has the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Wait until they are done.
    Wait,
    /// Leave it to them.
    None,
}

/// Whether the schema is ours until the transaction ends.
///
/// The lock on the tenant's registry row is the claim: a crash releases it, and operations on the
/// tenant's lifecycle wait for it. A schema without a row, and the registry itself, are guarded by
/// an advisory lock.
pub(crate) async fn claim(
    txn: &DatabaseTransaction,
    target: &Target,
    patience: Patience,
) -> Result<bool, Error> {
    if *target != Target::Registry && registry_exists(txn).await? {
        let row = || {
            tenant::Entity::find()
                .select_only()
                .column(tenant::Column::Id)
                .filter(tenant::Column::Schema.eq(target.name()))
        };
        let locked = match patience {
            Patience::Wait => row().lock_exclusive(),
            Patience::None => row().lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
        };
        if locked.into_tuple::<TenantId>().one(txn).await?.is_some() {
            return Ok(true);
        }
        if patience == Patience::None && row().into_tuple::<TenantId>().one(txn).await?.is_some() {
            return Ok(false);
        }
    }
    // Tried in a loop: waiting inside PostgreSQL for an advisory lock deadlocks with a
    // CREATE INDEX CONCURRENTLY that runs under the same lock.
    let lock = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))",
        [format!("tenantry migration of {target}").into()],
    );
    let begun = Instant::now();
    loop {
        let row = txn.query_one_raw(lock.clone()).await?;
        if row.map(|row| row.try_get_by_index::<bool>(0)).transpose()? == Some(true) {
            return Ok(true);
        }
        if begun.elapsed() > LONGEST {
            return Err(Error::Busy { schema: target.name().to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes what a tenant's schema has come to to its registry row, and clears the last failure.
/// A schema without a row has no version to keep.
pub(crate) async fn record_version(
    txn: &DatabaseTransaction,
    target: &Target,
    state: &State,
    migrator: &AnyMigrator,
) -> Result<(), Error> {
    if *target == Target::Registry || !registry_exists(txn).await? {
        return Ok(());
    }
    version_update(target, state, migrator, Expr::value(entity::now())).exec(txn).await?;
    Ok(())
}

pub(crate) fn version_update(
    target: &Target,
    state: &State,
    migrator: &AnyMigrator,
    at: Expr,
) -> UpdateMany<tenant::Entity> {
    tenant::Entity::update_many()
        .col_expr(tenant::Column::SchemaVersion, Expr::value(state.version(migrator)))
        .col_expr(tenant::Column::ContractVersion, Expr::value(state.contract(migrator)))
        .col_expr(tenant::Column::MigrationError, Expr::value(None::<sea_orm::JsonValue>))
        .col_expr(tenant::Column::MigrationAttempts, Expr::value(0))
        .col_expr(tenant::Column::UpdatedAt, at)
        .filter(tenant::Column::Schema.eq(target.name()))
}

pub(crate) async fn registry_exists(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let statement = Statement::from_string(
        DbBackend::Postgres,
        "SELECT to_regclass('registry.tenants') IS NOT NULL",
    );
    match db.query_one_raw(statement).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(false),
    }
}
