use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tenantry_registry::{Slug, TenantId, domain, tenant};

use super::{Error, Host, Tenancy, Tenant, TenantInfo, registry_view::TenantKey};
use crate::page::{self, Page, PageRequest};

impl Tenancy {
    /// The handle of a tenant, by its slug or by an earlier one that is an
    /// [alias](super::RenameOptions::alias).
    ///
    /// # Errors
    /// [`Error::UnknownTenant`]; [`Error::Unavailable`] if the tenant is not available.
    pub async fn tenant(&self, slug: &Slug) -> Result<Tenant, Error> {
        let found = self.resolve(TenantKey::Slug(slug.clone())).await?;
        found.ok_or_else(|| Error::UnknownTenant(slug.clone()))
    }

    /// The handle of the tenant with this id, which stays the same if the tenant is renamed, and is
    /// not used again.
    ///
    /// # Errors
    /// [`Error::UnknownTenantId`]; [`Error::Unavailable`] if the tenant is not available, also after
    /// it was dropped.
    pub async fn tenant_by_id(&self, id: TenantId) -> Result<Tenant, Error> {
        self.resolve(TenantKey::Id(id)).await?.ok_or(Error::UnknownTenantId(id))
    }

    /// The handle of the tenant that a `Host` header names: by its slug, or an alias, as a subdomain of the base
    /// domain, or by one of its hostnames.
    ///
    /// # Errors
    /// [`Error::UnknownHost`] if the host belongs to no tenant (nor does the base domain),
    /// [`Error::ReservedHost`]; [`Error::Unavailable`] if the tenant is not available.
    pub async fn tenant_by_host(&self, header: &str) -> Result<Tenant, Error> {
        self.tenant_at(&self.host(header), header).await
    }

    /// [`tenant_by_host`](Self::tenant_by_host) for a header that was parsed by
    /// [`host`](Self::host).
    ///
    /// # Errors
    /// As for [`tenant_by_host`](Self::tenant_by_host).
    pub async fn tenant_at(&self, host: &Host, header: &str) -> Result<Tenant, Error> {
        let unknown = || Error::UnknownHost(header.to_owned());
        let found = match host {
            Host::Slug(slug) => match self.tenant(slug).await {
                Err(Error::UnknownTenant(_)) => None,
                other => Some(other?),
            },
            Host::Custom(hostname) => self.resolve(TenantKey::Host(hostname.clone())).await?,
            Host::Reserved => return Err(Error::ReservedHost(header.to_owned())),
            Host::Base | Host::Unknown => None,
        };
        found.ok_or_else(unknown)
    }

    /// The meaning of a `Host` header.
    #[must_use]
    pub fn host(&self, header: &str) -> Host {
        Host::parse(header, &self.inner.base_domain)
    }

    /// The domain whose subdomains are the slugs of tenants, in lower case.
    #[must_use]
    pub fn base_domain(&self) -> &str {
        &self.inner.base_domain
    }

    /// [`Config::reveal_unavailable`](super::Config::reveal_unavailable).
    #[must_use]
    pub fn reveals_unavailable(&self) -> bool {
        self.inner.reveal_unavailable
    }

    /// The registry entry of a tenant, if it exists.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn get(&self, slug: &Slug) -> Result<Option<TenantInfo>, Error> {
        let row = tenant::Entity::find_living()
            .filter(tenant::Column::Slug.eq(slug.clone()))
            .one(&self.inner.db)
            .await?;
        match row {
            Some(row) => self.info(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// One page of tenants, ordered by id.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn list(&self, request: PageRequest) -> Result<Page<TenantInfo>, Error> {
        let select = tenant::Entity::find_living().filter(tenant::Column::Slug.is_not_null());
        let id = |row: &tenant::Model| row.id.as_uuid();
        let page = page::fetch(&self.inner.db, select, tenant::Column::Id, request, id).await?;
        Ok(Page { items: self.infos(page.items).await?, next: page.next })
    }

    /// The entries of rows. A spare, which has no slug, is left out.
    pub(super) async fn infos(&self, rows: Vec<tenant::Model>) -> Result<Vec<TenantInfo>, Error> {
        let ids: Vec<TenantId> = rows.iter().map(|row| row.id).collect();
        let mut domains = self.domains_of(&ids).await?;
        let mut aliases = self.aliases_of(&ids).await?;
        let infos = rows.into_iter().filter_map(|row| {
            let domains = domains.remove(&row.id).unwrap_or_default();
            let aliases = aliases.remove(&row.id).unwrap_or_default();
            TenantInfo::new(row, domains, aliases)
        });
        Ok(infos.collect())
    }

    /// The entry of a tenant's row.
    pub(super) async fn info(&self, row: tenant::Model) -> Result<TenantInfo, Error> {
        let id = row.id;
        self.infos(vec![row]).await?.pop().ok_or(Error::UnknownTenantId(id))
    }

    async fn resolve(&self, key: TenantKey) -> Result<Option<Tenant>, Error> {
        let Some(state) = self.inner.cache.get(key).await? else { return Ok(None) };
        state.check().await?;
        Ok(Some(Tenant { db: self.inner.pool.of_tenant(state.clone()), state }))
    }

    async fn domains_of(
        &self,
        ids: &[TenantId],
    ) -> Result<HashMap<TenantId, Vec<tenantry_registry::Hostname>>, Error> {
        let mut domains: HashMap<_, Vec<_>> = HashMap::new();
        let rows = domain::Entity::find()
            .filter(domain::Column::TenantId.eq_any(ids.iter().copied()))
            .all(&self.inner.db)
            .await?;
        for row in rows {
            domains.entry(row.tenant_id).or_default().push(row.hostname);
        }
        Ok(domains)
    }
}
