//! Dropping a tenant.
//!
//! A short first transaction marks the tenant and announces that, and from then on everybody
//! refuses it. What drops its tables comes after: it needs a lock on each, and all who want a
//! table that a lock is waited for on wait as well. So a lock is waited for only for a moment at
//! one go.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, ModelTrait, QueryFilter,
    QuerySelect, Statement, UpdateMany, sea_query::Expr,
};
use tenantry_migrate::{
    count_relations, dependents, drop_relations_batch, drop_schema, lock_holders, lock_tables,
};
use tenantry_registry::{Slug, TenantId, domain, tenant};
use tokio::time::{Instant, sleep};
use tracing::info;

use tenantry_registry::notify::notify;

use super::{Error, Tenancy, lifecycle::keys, pool::Transaction};
use crate::DbErrorKind;

/// A schema with more tables, indexes, views and sequences than these is dropped in several
/// transactions. Each takes about three locks, and the lock table of a server with default
/// settings has room for 6,400, which all its sessions share.
const DROPPED_AT_ONCE: u64 = 500;

/// How long a lock is waited for at one go.
const ATTEMPT: &str = "SELECT set_config('lock_timeout', '200ms', true)";

/// How long others are let through before the next attempt.
const PAUSE: Duration = Duration::from_millis(200);

/// How long it is tried without getting on.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of objects outside the schema that depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dependents {
    /// They keep the tenant from being dropped.
    Keep,
    Drop,
}

/// A tenant that is marked.
struct Marked {
    row: tenant::Model,
    /// The slug and the host names.
    keys: Vec<String>,
    /// Whether its locks would be too many for one transaction.
    bit_by_bit: bool,
}

impl Tenancy {
    /// Drops a tenant: its schema with everything in it and its host names. Open handles refuse
    /// their next statement.
    ///
    /// The registry keeps its row, with the time and [who did it](super::Config::actor): a tenant
    /// that is created with the same slug gets a schema of another name.
    ///
    /// The tenant is refused at once; then its tables are dropped, in more than one transaction if
    /// there are hundreds, as their locks would fill the server's lock table. Transactions of the
    /// tenant that are under way are waited for, 10 seconds at most. When that is interrupted,
    /// dropping the tenant again continues it.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`]; [`Error::BeingMigrated`] when it is, and nothing was
    /// changed; [`Error::HasDependents`] when objects outside the schema depend on it, such as a
    /// view over several tenants, which is looked for before the tenant is refused;
    /// [`Error::DropBlocked`] when its tables are in use, and the tenant is refused but still
    /// there.
    pub async fn drop(&self, slug: &Slug) -> Result<(), Error> {
        self.drop_with(slug, Dependents::Keep).await
    }

    /// [`drop`](Self::drop), and with the tenant the objects outside its schema that depend on it.
    ///
    /// # Errors
    /// As for [`drop`](Self::drop), but for [`Error::HasDependents`].
    pub async fn drop_cascade(&self, slug: &Slug) -> Result<(), Error> {
        self.drop_with(slug, Dependents::Drop).await
    }

    async fn drop_with(&self, slug: &Slug, outside: Dependents) -> Result<(), Error> {
        let mut patience = Patience::new();
        let marked = loop {
            let error = match self.mark(slug, outside).await {
                Ok(marked) => break marked,
                Err(error) => error,
            };
            match patience.bears(error).await {
                Err(error) if is_blocked(&error) => return Err(Error::BeingMigrated(slug.clone())),
                other => other?,
            }
        };
        let Marked { row, keys, .. } = &marked;
        self.refuse(row.id, keys);
        patience = Patience::new();
        // They are looked for again where a transaction may have made one meanwhile. In a very large
        // schema that takes as long as dropping some of its tables.
        let mut look = if marked.bit_by_bit { Dependents::Drop } else { outside };
        loop {
            match self.drop_some(&marked, look).await {
                Ok(true) => patience = Patience::new(),
                Ok(false) => break,
                Err(error) => {
                    look = outside;
                    let Err(error) = patience.bears(error).await else { continue };
                    if !is_blocked(&error) {
                        return Err(error);
                    }
                    let holders = lock_holders(&self.inner.db, &row.schema).await?;
                    return Err(Error::DropBlocked { slug: slug.clone(), holders });
                }
            }
        }
        self.refuse(row.id, keys);
        info!(tenant = %slug, schema = %row.schema, "tenant dropped");
        Ok(())
    }

    /// Marks the tenant, so that everybody refuses it.
    async fn mark(&self, slug: &Slug, outside: Dependents) -> Result<Marked, Error> {
        let txn = self.begin_attempt().await?;
        // The lock makes a migration of this tenant, a new host name and the drop wait for each
        // other.
        let row = tenant::Entity::find_living()
            .filter(tenant::Column::Slug.eq(slug.clone()))
            .lock_exclusive()
            .one(&txn)
            .await?
            .ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
        let txn = confirm_no_dependents(txn, &row, outside).await?;
        let domains = row.find_related(domain::Entity).all(&txn).await?;
        let keys = keys(slug, domains.into_iter().map(|domain| domain.hostname.to_string()));
        let bit_by_bit = count_relations(&txn, &row.schema).await? > DROPPED_AT_ONCE;
        if row.status != tenant::Status::Dropping {
            update(row.id, tenant::Status::Dropping)
                .col_expr(tenant::Column::DroppedBy, Expr::value(self.inner.actor.clone()))
                .exec(&txn)
                .await?;
            notify(&txn, row.id, keys.clone()).await?;
        }
        txn.commit().await?;
        Ok(Marked { row, keys, bit_by_bit })
    }

    /// Drops some of the tenant's tables, or what is left of it. Whether there is more.
    async fn drop_some(&self, marked: &Marked, outside: Dependents) -> Result<bool, Error> {
        let Marked { row: tenant @ tenant::Model { id, schema, .. }, keys, bit_by_bit } = marked;
        let txn = self.begin_attempt().await?;
        let row = tenant::Entity::find_by_id(*id)
            .filter(tenant::Column::Status.eq(tenant::Status::Dropping))
            .lock_exclusive()
            .one(&txn)
            .await?;
        if row.is_none() {
            // Somebody else who drops the tenant was done first.
            return Ok(false);
        }
        if outside == Dependents::Keep && !bit_by_bit {
            lock_tables(&txn, schema.as_str()).await?;
        }
        let txn = confirm_no_dependents(txn, tenant, outside).await?;
        let more = *bit_by_bit && drop_relations_batch(&txn, schema).await?;
        if !more {
            drop_schema(&txn, schema).await?;
            finish(&txn, *id).await?;
            notify(&txn, *id, keys.iter().cloned()).await?;
        }
        txn.commit().await?;
        Ok(more)
    }

    async fn begin_attempt(&self) -> Result<Transaction, DbErr> {
        let txn = self.inner.lifecycle.begin_for_ddl().await?;
        txn.execute_raw(Statement::from_string(DbBackend::Postgres, ATTEMPT)).await?;
        Ok(txn)
    }

    /// Makes this process refuse the tenant, as the others do when they hear of it.
    fn refuse(&self, id: TenantId, keys: &[String]) {
        self.inner.cache.mark_dropped(id);
        self.inner.cache.invalidate(keys.iter().map(String::as_str));
    }
}

/// How long an attempt that meets a lock is repeated.
struct Patience {
    since: Instant,
}

impl Patience {
    fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Waits until the next attempt, without holding a connection; returns the error when there is
    /// to be none.
    async fn bears(&self, error: Error) -> Result<(), Error> {
        if !is_blocked(&error) || self.since.elapsed() >= PATIENCE {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

/// A lock was not to be had in time, or whoever has it waits for one of ours.
fn is_blocked(error: &Error) -> bool {
    matches!(
        error.db_error_kind(),
        Some(DbErrorKind::LockTimeout | DbErrorKind::SerializationConflict)
    )
}

/// Returns the transaction if it may go on.
async fn confirm_no_dependents(
    txn: Transaction,
    row: &tenant::Model,
    outside: Dependents,
) -> Result<Transaction, Error> {
    let (Dependents::Keep, Some(slug)) = (outside, &row.slug) else { return Ok(txn) };
    let dependents = dependents(&txn, row.schema.as_str()).await?;
    if dependents.is_empty() {
        return Ok(txn);
    }
    // Waited for: the row is locked.
    txn.rollback().await?;
    Err(Error::HasDependents { slug: slug.clone(), dependents })
}

/// Leaves of a tenant what is to be remembered: its id, slug and schema, when it was created and
/// dropped, and by whom.
async fn finish(txn: &Transaction, id: TenantId) -> Result<(), DbErr> {
    domain::Entity::delete_many().filter(domain::Column::TenantId.eq(id)).exec(txn).await?;
    update(id, tenant::Status::Dropped)
        .col_expr(tenant::Column::DroppedAt, Expr::value(tenantry_registry::now()))
        .col_expr(tenant::Column::Metadata, Expr::value(serde_json::json!({})))
        .col_expr(tenant::Column::MigrationError, Expr::value(None::<sea_orm::JsonValue>))
        .exec(txn)
        .await?;
    Ok(())
}

fn update(id: TenantId, status: tenant::Status) -> UpdateMany<tenant::Entity> {
    tenant::Entity::update_many()
        .col_expr(tenant::Column::Status, Expr::value(status))
        .col_expr(tenant::Column::UpdatedAt, Expr::value(tenantry_registry::now()))
        .filter(tenant::Column::Id.eq(id))
}
