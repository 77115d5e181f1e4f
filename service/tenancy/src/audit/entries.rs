//! Reading the audit log.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, Order, QueryFilter, QuerySelect};
use serde::Serialize;
use serde_json::Value;
use tenantry_registry::{
    Slug, TenantId, alias,
    audit::{self, Action},
    tenant,
};
use uuid::Uuid;

use crate::{
    Error, Tenancy,
    page::{self, Page, PageRequest},
    tenant_info::perhaps_as_text,
};

/// One entry of the audit log: a change of a tenant, or of something else in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Id.
    pub id: Uuid,
    /// When the change was made, by the server's clock.
    pub at: DateTime<Utc>,
    /// The user, key or program that made it, see [`Tenancy::acting_as`].
    pub actor: String,
    /// What was done.
    pub action: Action,
    /// The tenant, if it was one.
    pub tenant_id: Option<TenantId>,
    /// Its slug after the change.
    #[serde(serialize_with = "perhaps_as_text")]
    pub slug: Option<Slug>,
    /// Id of the HTTP request that made the change.
    pub request_id: Option<String>,
    /// What was changed, as it was before: an object. Of metadata, only names of keys are recorded.
    pub before: Option<Value>,
    /// The same afterwards.
    pub after: Option<Value>,
}

/// Entries to be read. The default: all, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those about the tenant that has this slug or for which it is reserved as an earlier one, and
    /// about dropped tenants that had it.
    pub tenant: Option<Slug>,
    /// Those of one action.
    pub action: Option<Action>,
    /// Those from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Newest first.
    pub newest_first: bool,
}

impl Tenancy {
    /// One page of the audit log. To learn of changes as they are made, use
    /// [`events`](Self::events): an entry may become visible after others that are newer.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use tenantry::{AuditFilter, page::PageRequest};
    ///
    /// let tenant = Some("acme".parse()?);
    /// let filter = AuditFilter { tenant, newest_first: true, ..AuditFilter::default() };
    /// for entry in tenancy.audit(&filter, PageRequest::default()).await?.items {
    ///     println!("{} {} {}", entry.at, entry.actor, entry.action);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        request: PageRequest,
    ) -> Result<Page<AuditEntry>, Error> {
        let db = &self.inner.db;
        let mut select = audit::Entity::find();
        if let Some(slug) = &filter.tenant {
            // Also those that were dropped, and under earlier slugs.
            let ids = tenant::Entity::find()
                .select_only()
                .column(tenant::Column::Id)
                .filter(tenant::Column::Slug.eq(slug.clone()));
            let mut ids: Vec<TenantId> = ids.into_tuple().all(db).await?;
            let alias = alias::Entity::find_by_id(slug.clone()).one(db).await?;
            ids.extend(alias.map(|alias| alias.tenant_id));
            select = select.filter(audit::Column::TenantId.eq_any(ids));
        }
        if let Some(action) = &filter.action {
            select = select.filter(audit::Column::Action.eq(action.as_str()));
        }
        if let Some(since) = filter.since {
            select = select.filter(audit::Column::At.gte(since));
        }
        let order = if filter.newest_first { Order::Desc } else { Order::Asc };
        let id = |row: &audit::Model| row.id;
        let page = page::fetch_in(db, select, (audit::Column::Id, order), request, id).await?;
        Ok(page.map(AuditEntry::from))
    }
}

impl From<audit::Model> for AuditEntry {
    fn from(row: audit::Model) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            action: row.action.into(),
            tenant_id: row.tenant_id,
            slug: row.slug,
            request_id: row.request_id,
            before: row.before,
            after: row.after,
        }
    }
}
