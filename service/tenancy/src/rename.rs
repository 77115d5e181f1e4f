//! Changing the slug of a tenant.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, EntityTrait, ModelTrait, QueryFilter, QuerySelect, Set,
    sea_query::{Expr, LockType, OnConflict},
};
use tenantry_registry::{Slug, alias, audit::Action, domain, notify::notify, tenant};
use tracing::info;

use super::{
    Availability, Error, Tenancy, TenantInfo, TenantUnavailable,
    lifecycle::{SLUG_KEY, is_taken, keys},
    locked_row::LockRetry,
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
        let row = tenant::Entity::find_living()
            .filter(tenant::Column::Slug.eq(slug.clone()))
            .lock(LockType::NoKeyUpdate)
            .one(&txn)
            .await?;
        let Some(row) = row else {
            let renamed = find_renamed(&txn, slug, new).await?;
            return renamed.ok_or_else(|| Error::UnknownTenant(slug.clone()));
        };
        if row.status == tenant::Status::Dropping {
            return Err(TenantUnavailable::new(row.id, slug.clone(), Availability::Dropped).into());
        }
        if slug == new {
            return Ok(row);
        }
        let changed = tenant::Entity::update_many()
            .col_expr(tenant::Column::Slug, Expr::value(new.clone()))
            .col_expr(tenant::Column::UpdatedAt, Expr::value(tenantry_registry::now()))
            .filter(tenant::Column::Id.eq(row.id))
            .exec_with_returning(&txn)
            .await
            .map_err(|error| match is_taken(&error, SLUG_KEY) {
                true => Error::SlugTaken(new.clone()),
                false => error.into(),
            })?;
        self.claim_slug(&txn, new, row.id).await?;
        reserve(&txn, &row, slug, options).await?;
        let domains = row.find_related(domain::Entity).all(&txn).await?;
        let aliases = row.find_related(alias::Entity).all(&txn).await?;
        let others = domains.into_iter().map(|domain| domain.hostname.to_string());
        let others = others.chain(aliases.into_iter().map(|alias| alias.slug.to_string()));
        let mut keys = keys(slug, others);
        keys.push(new.to_string());
        let changed = changed.into_iter().next().unwrap_or_else(|| row.clone());
        self.record(&txn, Action::Renamed, &row, &changed).await?;
        notify(&txn, row.id, keys.clone()).await?;
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
) -> Result<(), Error> {
    let now = tenantry_registry::now();
    let alias = alias::ActiveModel {
        slug: Set(slug.clone()),
        tenant_id: Set(row.id),
        redirects: Set(options.alias),
        expires_at: Set(after(now, options.reserve_for)),
        inserted_at: Set(now),
    };
    // One that has expired may be left from another tenant.
    let mut replace = OnConflict::column(alias::Column::Slug);
    replace.update_columns([
        alias::Column::TenantId,
        alias::Column::Redirects,
        alias::Column::ExpiresAt,
        alias::Column::InsertedAt,
    ]);
    alias::Entity::insert(alias).on_conflict(replace).exec_without_returning(txn).await?;
    Ok(())
}
