use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::json;
use tenantry_registry::{
    Hostname, Slug, TenantId,
    audit::{self, Action},
    domain,
};

use tenantry_registry::notify::tenant_changed;

use super::{Error, Host, Tenancy, locked_row::lock_living};
use crate::DbErrorKind;

impl Tenancy {
    /// Adds a hostname to a tenant. It may have it already.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`], [`Error::HostTaken`], [`Error::HostBelowBase`].
    pub async fn domain_add(&self, slug: &Slug, hostname: &Hostname) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin().await?;
        let id = lock_living(&txn, slug).await?;
        match self.insert_domain(&txn, id, hostname).await {
            Err(Error::HostTaken(hostname)) => {
                txn.rollback().await?;
                return self.confirm_owner(id, hostname).await;
            }
            other => other?,
        }
        let entry = self.entry(Action::DomainAdded).tenant(id, Some(slug.clone()));
        let entry = entry.after(json!({ "hostname": hostname.as_str() }));
        audit::record(&txn, entry, tenant_changed(id, [hostname.to_string()])).await?;
        txn.commit().await?;
        self.inner.cache.invalidate([hostname.as_str()]);
        Ok(())
    }

    /// Removes a hostname from a tenant.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`]; [`Error::UnknownDomain`] if the tenant does not have the hostname.
    pub async fn domain_remove(&self, slug: &Slug, hostname: &Hostname) -> Result<(), Error> {
        let id = self.id_of(slug).await?;
        let txn = self.inner.lifecycle.begin().await?;
        let deleted = domain::Entity::delete_by_id(hostname.clone())
            .filter(domain::Column::TenantId.eq(id))
            .exec(&txn)
            .await?;
        if deleted.rows_affected == 0 {
            return Err(Error::UnknownDomain { slug: slug.clone(), hostname: hostname.clone() });
        }
        let entry = self.entry(Action::DomainRemoved).tenant(id, Some(slug.clone()));
        let entry = entry.before(json!({ "hostname": hostname.as_str() }));
        audit::record(&txn, entry, tenant_changed(id, [hostname.to_string()])).await?;
        txn.commit().await?;
        self.inner.cache.invalidate([hostname.as_str()]);
        Ok(())
    }

    /// Refuses a hostname below the base domain, which could be another tenant's slug.
    pub(super) fn check_domain(&self, hostname: &Hostname) -> Result<(), Error> {
        match self.host(hostname.as_str()) {
            Host::Custom(_) => Ok(()),
            _ => Err(Error::HostBelowBase(hostname.clone())),
        }
    }

    pub(super) async fn insert_domain(
        &self,
        db: &impl ConnectionTrait,
        tenant_id: TenantId,
        hostname: &Hostname,
    ) -> Result<(), Error> {
        self.check_domain(hostname)?;
        let row = domain::ActiveModel {
            hostname: Set(hostname.clone()),
            tenant_id: Set(tenant_id),
            inserted_at: Set(tenantry_registry::now()),
        };
        match row.insert(db).await {
            Ok(_) => Ok(()),
            Err(error)
                if DbErrorKind::of(&error) == DbErrorKind::Unique("domains_pkey".to_owned()) =>
            {
                Err(Error::HostTaken(hostname.clone()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that a hostname is this tenant's.
    async fn confirm_owner(&self, id: TenantId, hostname: Hostname) -> Result<(), Error> {
        let row = domain::Entity::find_by_id(hostname.clone()).one(&self.inner.db).await?;
        match row.is_some_and(|row| row.tenant_id == id) {
            true => Ok(()),
            false => Err(Error::HostTaken(hostname)),
        }
    }

    async fn id_of(&self, slug: &Slug) -> Result<TenantId, Error> {
        let tenant = self.get(slug).await?;
        tenant.map(|tenant| tenant.id).ok_or_else(|| Error::UnknownTenant(slug.clone()))
    }
}
