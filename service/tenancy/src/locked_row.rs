//! Changes of a tenant's row under its lock, which migrations of the tenant hold too.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QuerySelect,
    Statement,
    sea_query::{Expr, LockType, SimpleExpr},
};
use tenantry_registry::{
    Slug, TenantId,
    audit::{self, Action},
    notify::tenant_changed,
    tenant,
};
use tokio::time::{Instant, sleep};

use super::{Availability, Error, Tenancy, TenantUnavailable, pool::Transaction};
use crate::DbErrorKind;

/// How long one attempt waits for a lock.
pub(super) const LOCK_TIMEOUT: &str = "200ms";

/// Pause between two attempts, in which other sessions proceed.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// How long attempts that make no progress are repeated.
pub(super) const MAX_BLOCKED: Duration = Duration::from_secs(10);

/// The row of a tenant after a change.
pub(super) struct Changed {
    pub(super) row: tenant::Model,
    /// Whether it differs from the one before.
    pub(super) is_changed: bool,
}

impl Tenancy {
    /// Begins a transaction that waits only briefly for each lock.
    pub(super) async fn begin_attempt(&self) -> Result<Transaction, DbErr> {
        let txn = self.inner.lifecycle.begin().await?;
        limit_lock_wait(&txn, LOCK_TIMEOUT).await?;
        Ok(txn)
    }

    /// The same for a transaction that creates or drops schemas or tables.
    pub(super) async fn begin_ddl_attempt(&self) -> Result<Transaction, DbErr> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        limit_lock_wait(&txn, LOCK_TIMEOUT).await?;
        Ok(txn)
    }

    /// Sets columns of a tenant's row, unless there are none, records the change as `action`, and
    /// notifies all processes. `change` is called again when another program has locked the row.
    pub(super) async fn change_row(
        &self,
        slug: &Slug,
        action: &Action,
        change: impl Fn(&tenant::Model) -> Result<Vec<(tenant::Column, SimpleExpr)>, Error>,
    ) -> Result<Changed, Error> {
        let retry = LockRetry::new();
        loop {
            let error = match self.try_change_row(slug, action, &change).await {
                Ok(row) => return Ok(row),
                Err(error) => error,
            };
            retry.pause_for_row(slug, error).await?;
        }
    }

    async fn try_change_row(
        &self,
        slug: &Slug,
        action: &Action,
        change: &impl Fn(&tenant::Model) -> Result<Vec<(tenant::Column, SimpleExpr)>, Error>,
    ) -> Result<Changed, Error> {
        let txn = self.begin_attempt().await?;
        let row = lock_row(&txn, slug).await?.ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
        let columns = change(&row)?;
        if columns.is_empty() {
            txn.rollback().await?;
            return Ok(Changed { row, is_changed: false });
        }
        let columns = columns
            .into_iter()
            .fold(tenant::Entity::update_many(), |update, (it, value)| update.col_expr(it, value));
        let changed = columns
            .col_expr(tenant::Column::UpdatedAt, Expr::value(tenantry_registry::now()))
            .filter(tenant::Column::Id.eq(row.id))
            .exec_with_returning(&txn)
            .await?;
        let changed = changed.into_iter().next().unwrap_or_else(|| row.clone());
        let entry = self.change_entry(action.clone(), &row, &changed);
        audit::record(&txn, entry, tenant_changed(row.id, [])).await?;
        txn.commit().await?;
        Ok(Changed { row: changed, is_changed: true })
    }
}

/// Locks the row of a tenant, if it exists. Refuses one that is being dropped.
pub(super) async fn lock_row(
    txn: &Transaction,
    slug: &Slug,
) -> Result<Option<tenant::Model>, Error> {
    let row = tenant::Entity::find_living()
        .filter(tenant::Column::Slug.eq(slug.clone()))
        .lock(LockType::NoKeyUpdate)
        .one(txn)
        .await?;
    match row {
        Some(row) if row.status == tenant::Status::Dropping => {
            Err(TenantUnavailable::new(row.id, slug.clone(), Availability::Dropped).into())
        }
        row => Ok(row),
    }
}

/// The id of a tenant, locked against a drop until the transaction ends.
pub(super) async fn lock_living(txn: &Transaction, slug: &Slug) -> Result<TenantId, Error> {
    let id = tenant::Entity::find_living()
        .select_only()
        .column(tenant::Column::Id)
        .filter(tenant::Column::Slug.eq(slug.clone()))
        .filter(tenant::Column::Status.ne(tenant::Status::Dropping))
        .lock(LockType::KeyShare)
        .into_tuple()
        .one(txn)
        .await?;
    id.ok_or_else(|| Error::UnknownTenant(slug.clone()))
}

/// Makes the transaction wait so long for each lock.
pub(super) async fn limit_lock_wait(txn: &Transaction, limit: &str) -> Result<(), DbErr> {
    let sql = "SELECT set_config('lock_timeout', $1, true)";
    let set = Statement::from_sql_and_values(DbBackend::Postgres, sql, [limit.into()]);
    txn.execute_raw(set).await.map(drop)
}

/// Ends the effect of [`limit_lock_wait`].
pub(super) async fn unlimit_lock_wait(txn: &Transaction) -> Result<(), DbErr> {
    let reset = Statement::from_string(DbBackend::Postgres, "SET LOCAL lock_timeout TO DEFAULT");
    txn.execute_raw(reset).await.map(drop)
}

/// Repeats attempts that are blocked by locks.
pub(super) struct LockRetry {
    since: Instant,
    limit: Duration,
}

impl LockRetry {
    pub(super) fn new() -> Self {
        Self::within(MAX_BLOCKED)
    }

    /// Repeats them for so long.
    pub(super) fn within(limit: Duration) -> Self {
        Self { since: Instant::now(), limit }
    }

    /// Waits until the next attempt, without a connection; returns the error if there is to be
    /// none.
    pub(super) async fn pause(&self, error: Error) -> Result<(), Error> {
        if !is_blocked(&error) || self.since.elapsed() >= self.limit {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// The same for the lock of a tenant's row, with the error that names the tenant.
    pub(super) async fn pause_for_row(&self, slug: &Slug, error: Error) -> Result<(), Error> {
        match self.pause(error).await {
            Err(error) if is_blocked(&error) => Err(Error::BeingMigrated(slug.clone())),
            other => other,
        }
    }
}

/// Whether a lock was not granted in time, would have caused a deadlock, or was granted after a
/// migration.
pub(super) fn is_blocked(error: &Error) -> bool {
    matches!(error, Error::BeingMigrated(_))
        || matches!(
            error.db_error_kind(),
            Some(DbErrorKind::LockTimeout | DbErrorKind::SerializationConflict)
        )
}
