//! Dropping a tenant.
//!
//! A short first transaction marks the tenant and notifies all processes, which refuse it from then
//! on. Its tables are dropped after that. That needs a lock on each table, and while it waits for
//! one, other sessions that use the table wait behind it. So each attempt waits only briefly.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect, UpdateMany, sea_query::Expr,
};
use serde_json::json;
use tenantry_migrate::{
    count_relations, dependents, drop_relations_batch, drop_schema, lock_holders, lock_tables,
};
use tenantry_registry::{
    Slug, TenantId, alias, api_key,
    audit::{self, Action},
    domain, tenant,
};
use tracing::info;

use tenantry_registry::notify::tenant_changed;

use super::{
    Error, Tenancy, Transition,
    lifecycle::keys_of,
    locked_row::{LockRetry, is_blocked},
    owner::confirm_ownership,
    pool::Transaction,
};

/// A schema with more tables, indexes, views and sequences is dropped in several transactions. Each
/// of them takes about three locks, and the lock table of a server with default settings has room
/// for 6,400, which all sessions share.
const MAX_RELATIONS_PER_DROP: u64 = 500;

/// Treatment of objects outside the schema that depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dependents {
    /// They prevent the drop.
    Refuse,
    Drop,
}

/// The tenants that may be dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// All but archived ones whose grace has not ended.
    GraceOver,
    /// Archived ones whose grace has ended.
    Expired,
    Archived,
    /// Only those whose drop has started.
    Dropping,
}

impl Condition {
    /// Continuing a drop is always possible.
    fn check(self, row: &tenant::Model, slug: &Slug) -> Result<(), Error> {
        match (row.status, row.purge_after) {
            (status, _) if self == Self::Dropping => match status {
                tenant::Status::Dropping => Ok(()),
                _ => Err(Error::UnknownTenant(slug.clone())),
            },
            (tenant::Status::Active | tenant::Status::Suspended, _) if self != Self::GraceOver => {
                Err(Transition::Purge.refuse(slug, row.status))
            }
            // Without an end, as a person may have written it, the data is kept.
            (tenant::Status::Archived, purge_after)
                if self != Self::Archived
                    && purge_after.is_none_or(|at| at > tenantry_registry::now()) =>
            {
                Err(Error::GraceNotOver { slug: slug.clone(), purge_after })
            }
            _ => Ok(()),
        }
    }
}

/// A tenant that is marked as dropped.
struct Marked {
    row: tenant::Model,
    /// The slugs and the hostnames.
    keys: Vec<String>,
    /// Whether dropping it takes too many locks for one transaction.
    in_batches: bool,
}

impl Tenancy {
    /// Drops a tenant: its schema with everything in it, its hostnames and its earlier slugs. Open handles refuse
    /// their next statement.
    ///
    /// The registry keeps its row, with the time and the [actor](super::Config::actor): a tenant
    /// that is created with the same slug gets a schema of another name.
    ///
    /// The tenant becomes unavailable at once; then its tables are dropped, in several transactions
    /// if there are hundreds, since their locks would fill the server's lock table. Transactions of
    /// the tenant that are in progress are waited for, for at most 10 seconds. After an
    /// interruption, dropping the tenant again continues.
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`];
    /// - [`Error::GraceNotOver`] if the tenant is archived and its data is to be kept longer; nothing
    ///   was changed;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant; nothing was changed;
    /// - [`Error::HasDependents`] if objects outside the schema depend on it, such as a view over
    ///   several tenants; nothing was changed;
    /// - [`Error::DropBlocked`] if its tables are in use: the tenant is unavailable, but not
    ///   dropped yet.
    pub async fn drop(&self, slug: &Slug) -> Result<(), Error> {
        self.drop_with(slug, Condition::GraceOver, Dependents::Refuse).await
    }

    /// As [`drop`](Self::drop), but also drops the objects outside the schema that depend on it.
    ///
    /// # Errors
    /// As for [`drop`](Self::drop), except for [`Error::HasDependents`].
    pub async fn drop_cascade(&self, slug: &Slug) -> Result<(), Error> {
        self.drop_with(slug, Condition::GraceOver, Dependents::Drop).await
    }

    /// Drops an [archived](Self::archive) tenant as [`drop`](Self::drop) does, once its grace has
    /// ended; with `force` also before. Its earlier slugs are free then.
    ///
    /// # Errors
    /// Those of [`drop`](Self::drop), and [`Error::InvalidTransition`] if the tenant is not archived.
    pub async fn purge(&self, slug: &Slug, force: bool) -> Result<(), Error> {
        self.drop_with(slug, purge_condition(force), Dependents::Refuse).await
    }

    /// As [`purge`](Self::purge), but also drops the objects outside the schema that depend on it.
    ///
    /// # Errors
    /// As for [`purge`](Self::purge), except for [`Error::HasDependents`].
    pub async fn purge_cascade(&self, slug: &Slug, force: bool) -> Result<(), Error> {
        self.drop_with(slug, purge_condition(force), Dependents::Drop).await
    }

    /// Finishes a drop that was interrupted. Refuses any other tenant as unknown, such as one that
    /// got the slug after the drop was finished elsewhere.
    pub(super) async fn finish_drop(&self, slug: &Slug) -> Result<(), Error> {
        self.drop_with(slug, Condition::Dropping, Dependents::Refuse).await
    }

    async fn drop_with(
        &self,
        slug: &Slug,
        condition: Condition,
        outside: Dependents,
    ) -> Result<(), Error> {
        let mut retry = LockRetry::new();
        let marked = loop {
            let error = match self.mark_dropped(slug, condition, outside).await {
                Ok(marked) => break marked,
                Err(error) => error,
            };
            retry.pause_for_row(slug, error).await?;
        };
        let Marked { row, keys, .. } = &marked;
        self.set_dropping(row.id, keys);
        retry = LockRetry::new();
        // Checked again where a transaction may have created some meanwhile. In a very large schema
        // that takes as long as dropping some of its tables.
        let mut dependents = if marked.in_batches { Dependents::Drop } else { outside };
        loop {
            match self.drop_batch(&marked, dependents).await {
                Ok(true) => retry = LockRetry::new(),
                Ok(false) => break,
                Err(error) => {
                    dependents = outside;
                    let Err(error) = retry.pause(error).await else { continue };
                    if !is_blocked(&error) {
                        return Err(error);
                    }
                    let holders = lock_holders(&self.inner.db, row.schema.as_str()).await?;
                    return Err(Error::DropBlocked { slug: slug.clone(), holders });
                }
            }
        }
        self.set_dropping(row.id, keys);
        info!(tenant = %slug, schema = %row.schema, "tenant dropped");
        Ok(())
    }

    /// Marks the tenant as dropped, so that all processes refuse it.
    async fn mark_dropped(
        &self,
        slug: &Slug,
        condition: Condition,
        outside: Dependents,
    ) -> Result<Marked, Error> {
        // As the owner, so that nothing is marked that could not be dropped.
        let txn = self.begin_ddl_attempt().await?;
        // The lock serializes this with migrations of the tenant and with new hostnames.
        let row = tenant::Entity::find_living()
            .filter(tenant::Column::Slug.eq(slug.clone()))
            .lock_exclusive()
            .one(&txn)
            .await?
            .ok_or_else(|| Error::UnknownTenant(slug.clone()))?;
        let mut checked = condition.check(&row, slug);
        if checked.is_ok() {
            checked = confirm_ownership(&txn, &row.schema).await.map_err(Error::from);
        }
        if let Err(error) = checked {
            // The row is locked, so the rollback is awaited.
            txn.rollback().await?;
            return Err(error);
        }
        let txn = check_dependents(txn, &row, outside).await?;
        let keys = keys_of(&txn, &row).await?;
        let in_batches = count_relations(&txn, &row.schema).await? > MAX_RELATIONS_PER_DROP;
        if row.status != tenant::Status::Dropping {
            update(row.id, tenant::Status::Dropping)
                .col_expr(tenant::Column::DroppedBy, Expr::value(self.actor.name.clone()))
                .exec(&txn)
                .await?;
            let entry = self
                .tenant_entry(Action::Dropping, &row)
                .before(json!({ "status": row.status.as_str(), "purge_after": row.purge_after }))
                .after(json!({
                    "forced": condition == Condition::Archived,
                    "cascade": outside == Dependents::Drop,
                }));
            audit::record(&txn, entry, tenant_changed(row.id, keys.clone())).await?;
        }
        txn.commit().await?;
        Ok(Marked { row, keys, in_batches })
    }

    /// Drops some of the tenant's tables, or the rest of it. Returns whether there is more to drop.
    async fn drop_batch(&self, marked: &Marked, outside: Dependents) -> Result<bool, Error> {
        let Marked { row: tenant @ tenant::Model { id, schema, .. }, keys, in_batches } = marked;
        let txn = self.begin_ddl_attempt().await?;
        let row = tenant::Entity::find_by_id(*id)
            .filter(tenant::Column::Status.eq(tenant::Status::Dropping))
            .lock_exclusive()
            .one(&txn)
            .await?;
        if row.is_none() {
            // Another program has finished the drop.
            return Ok(false);
        }
        if outside == Dependents::Refuse && !in_batches {
            lock_tables(&txn, schema.as_str()).await?;
        }
        let txn = check_dependents(txn, tenant, outside).await?;
        let more = *in_batches && drop_relations_batch(&txn, schema).await?;
        if !more {
            drop_schema(&txn, schema).await?;
            clear_row(&txn, *id).await?;
            let entry = self.tenant_entry(Action::Dropped, tenant);
            audit::record(&txn, entry, tenant_changed(*id, keys.iter().cloned())).await?;
        }
        txn.commit().await?;
        Ok(more)
    }

    /// Makes this process refuse the tenant, as others do when they are notified.
    fn set_dropping(&self, id: TenantId, keys: &[String]) {
        self.inner.cache.mark_dropped(id);
        self.inner.cache.invalidate(keys.iter().map(String::as_str));
    }
}

fn purge_condition(force: bool) -> Condition {
    if force { Condition::Archived } else { Condition::Expired }
}

/// Returns the transaction if the drop may continue.
async fn check_dependents(
    txn: Transaction,
    row: &tenant::Model,
    outside: Dependents,
) -> Result<Transaction, Error> {
    let (Dependents::Refuse, Some(slug)) = (outside, &row.slug) else { return Ok(txn) };
    let dependents = dependents(&txn, row.schema.as_str()).await?;
    if dependents.is_empty() {
        return Ok(txn);
    }
    // The row is locked, so the rollback is awaited.
    txn.rollback().await?;
    Err(Error::HasDependents { slug: slug.clone(), dependents })
}

/// Reduces the row of a tenant to its id, slug and schema, the times of its creation and drop, and
/// the actor.
async fn clear_row(txn: &Transaction, id: TenantId) -> Result<(), DbErr> {
    delete_rows_of(txn, id).await?;
    update(id, tenant::Status::Dropped)
        .col_expr(tenant::Column::DroppedAt, Expr::value(tenantry_registry::now()))
        .col_expr(tenant::Column::Metadata, Expr::value(serde_json::json!({})))
        .col_expr(tenant::Column::MigrationError, Expr::value(None::<sea_orm::JsonValue>))
        .col_expr(tenant::Column::StatusReason, Expr::value(None::<String>))
        .col_expr(tenant::Column::StatusSince, Expr::value(None::<DateTime<Utc>>))
        .col_expr(tenant::Column::StatusBefore, Expr::value(None::<tenant::Status>))
        .col_expr(tenant::Column::PurgeAfter, Expr::value(None::<DateTime<Utc>>))
        .col_expr(tenant::Column::ReadOnly, Expr::value(false))
        .exec(txn)
        .await?;
    Ok(())
}

/// Deletes the hostnames, the earlier slugs and the keys of a tenant. Returns their number.
pub(super) async fn delete_rows_of(txn: &Transaction, id: TenantId) -> Result<u64, DbErr> {
    let domains = domain::Entity::delete_many().filter(domain::Column::TenantId.eq(id));
    let aliases = alias::Entity::delete_many().filter(alias::Column::TenantId.eq(id));
    let keys = api_key::Entity::delete_many().filter(api_key::Column::TenantId.eq(id));
    let (domains, aliases) = (domains.exec(txn).await?, aliases.exec(txn).await?);
    Ok(domains.rows_affected + aliases.rows_affected + keys.exec(txn).await?.rows_affected)
}

fn update(id: TenantId, status: tenant::Status) -> UpdateMany<tenant::Entity> {
    tenant::Entity::update_many()
        .col_expr(tenant::Column::Status, Expr::value(status))
        .col_expr(tenant::Column::UpdatedAt, Expr::value(tenantry_registry::now()))
        .filter(tenant::Column::Id.eq(id))
}
