//! Changing the slug of a tenant.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter,
    sea_query::{Expr, OnConflict},
};
use tenantry_registry::{Slug, alias, audit, notify::tenant_changed, tenant};
use tracing::info;

use super::{
    Error, Tenancy, TenantInfo,
    lifecycle::{SLUG_KEY, is_held, is_taken, keys_of},
    locked_row::{LockRetry, lock_row},
    pool::Transaction,
    transitions::after,
};

/// What becomes of the earlier slug of a tenant that is renamed.
///
/// ```
/// let mut options = tenantry::RenameOptions::default();
/// options.alias = true;
/// assert_eq!(options.reserve_for.as_secs(), 90 * 24 * 60 * 60);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenameOptions {
    /// Whether it still leads to the tenant, as a host and in [`Tenancy::tenant`], while it is
    /// reserved. The default is no.
    pub alias: bool,
    /// How long no other tenant gets it. The default is 90 days; zero makes it free at once.
    pub reserve_for: Duration,
}

impl Default for RenameOptions {
    fn default() -> Self {
        Self { alias: false, reserve_for: Duration::from_secs(90 * 24 * 60 * 60) }
    }
}

impl Tenancy {
    /// Gives a tenant another slug, in one transaction, and returns its new entry. Its id, schema and
    /// hostnames stay the same. Other processes are notified.
    ///
    /// The earlier slug is reserved for the tenant for a time, and may lead to it, see
    /// [`RenameOptions`]. A tenant can be renamed back to it. Open handles continue, with the slug
    /// with which they were resolved. A repeated request changes nothing.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// let mut options = tenantry::RenameOptions::default();
    /// options.alias = true;
    /// tenancy.rename(&"acme".parse()?, &"acme-berlin".parse()?, options).await?;
    /// let tenant = tenancy.tenant(&"acme".parse()?).await?;
    /// assert_eq!(tenant.slug().as_str(), "acme-berlin");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`]; [`Error::Unavailable`] if the tenant is being dropped;
    /// - [`Error::SlugTaken`] if another tenant has the new slug, [`Error::SlugReserved`] if another
    ///   one has had it;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    ///
    /// Nothing is changed then.
    pub async fn rename(
        &self,
        slug: &Slug,
        new: &Slug,
        options: RenameOptions,
    ) -> Result<TenantInfo, Error> {
        let retry = LockRetry::new();
        let row = loop {
            match self.try_rename(slug, new, options).await {
                Ok(row) => break row,
                Err(error) => retry.pause_for_row(slug, error).await?,
            }
        };
        self.info(row).await
    }

    async fn try_rename(
        &self,
        slug: &Slug,
        new: &Slug,
        options: RenameOptions,
    ) -> Result<tenant::Model, Error> {
        let txn = self.begin_attempt().await?;
        let Some(row) = lock_row(&txn, slug).await? else {
            let renamed = find_renamed(&txn, slug, new).await?;
            return renamed.ok_or_else(|| Error::UnknownTenant(slug.clone()));
        };
        if slug == new {
            return Ok(row);
        }
        let changed = tenant::Entity::update_many()
            .col_expr(tenant::Column::Slug, Expr::value(new.clone()))
            .col_expr(tenant::Column::UpdatedAt, Expr::value(tenantry_registry::now()))
            .filter(tenant::Column::Id.eq(row.id))
            .exec_with_returning(&txn)
            .await
            .map_err(|error| match is_taken(&error, SLUG_KEY) || is_held(&error, SLUG_KEY) {
                true => Error::SlugTaken(new.clone()),
                false => error.into(),
            })?;
        self.claim_slug(&txn, new, row.id).await?;
        let alias = reserve(&txn, &row, slug, options).await?;
        let mut keys = keys_of(&txn, &row).await?;
        keys.push(new.to_string());
        let changed = changed.into_iter().next().unwrap_or_else(|| row.clone());
        let entry = self.renaming_entry(&row, &changed, &alias);
        audit::record(&txn, entry, tenant_changed(row.id, keys.clone())).await?;
        txn.commit().await?;
        self.inner.cache.invalidate_tenant(row.id);
        self.inner.cache.invalidate(keys.iter().map(String::as_str));
        info!(tenant = %slug, %new, "tenant renamed");
        Ok(changed)
    }
}

/// The tenant that an earlier request has renamed in the same way.
async fn find_renamed(
    txn: &Transaction,
    slug: &Slug,
    new: &Slug,
) -> Result<Option<tenant::Model>, Error> {
    let Some(alias) = alias::Entity::find_by_id(slug.clone()).one(txn).await? else {
        return Ok(None);
    };
    let row = tenant::Entity::find_by_id(alias.tenant_id)
        .filter(tenant::Column::Slug.eq(new.clone()))
        .filter(tenant::Column::Status.is_not_in(tenant::Status::GONE))
        .one(txn)
        .await?;
    Ok(row)
}

/// Reserves the earlier slug of a tenant.
async fn reserve(
    txn: &Transaction,
    row: &tenant::Model,
    slug: &Slug,
    options: RenameOptions,
) -> Result<alias::Model, Error> {
    let now = tenantry_registry::now();
    let alias = alias::Model {
        slug: slug.clone(),
        tenant_id: row.id,
        redirects: options.alias,
        expires_at: after(now, options.reserve_for),
        inserted_at: now,
    };
    // One that has expired may be left from another tenant.
    let mut replace = OnConflict::column(alias::Column::Slug);
    replace.update_columns([
        alias::Column::TenantId,
        alias::Column::Redirects,
        alias::Column::ExpiresAt,
        alias::Column::InsertedAt,
    ]);
    let insert = alias::Entity::insert(alias.clone().into_active_model().reset_all());
    insert.on_conflict(replace).exec_without_returning(txn).await?;
    Ok(alias)
}
