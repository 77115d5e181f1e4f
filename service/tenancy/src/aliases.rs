//! Earlier slugs of tenants.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement};
use serde::Serialize;
use tenantry_registry::{Slug, TenantId, alias};

use super::{Error, Tenancy, pool::Transaction, tenant_info::as_text};

/// An earlier slug of a tenant, which no other tenant gets until it expires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Alias {
    /// The slug.
    #[serde(serialize_with = "as_text")]
    pub slug: Slug,
    /// Whether it still leads to the tenant. Otherwise it is only reserved.
    pub redirects: bool,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Frees an earlier slug if it has expired, is the tenant's own or that of a dropped one, and returns
/// for whom it is reserved otherwise.
const CLAIM: &str = "WITH reserved AS (
        SELECT a.slug, t.slug AS tenant, a.expires_at,
            a.tenant_id <> $2 AND a.expires_at > $3 AND t.status <> 'dropped' AS is_reserved
        FROM registry.aliases a JOIN registry.tenants t ON t.id = a.tenant_id WHERE a.slug = $1
    ), freed AS (
        DELETE FROM registry.aliases a USING reserved r WHERE a.slug = r.slug AND NOT r.is_reserved
    )
    SELECT expires_at, tenant FROM reserved WHERE is_reserved";

impl Tenancy {
    /// Refuses a slug that is reserved for another tenant. To be called after the slug was written:
    /// the unique index on it makes a renaming that reserves it come before or after.
    pub(super) async fn claim_slug(
        &self,
        txn: &Transaction,
        slug: &Slug,
        id: TenantId,
    ) -> Result<(), Error> {
        let claim = Statement::from_sql_and_values(
            DbBackend::Postgres,
            CLAIM,
            [slug.clone().into(), id.into(), tenantry_registry::now().into()],
        );
        let Some(reserved) = txn.query_one_raw(claim).await? else { return Ok(()) };
        let (until, tenant) = reserved.try_get_many_by_index()?;
        Err(Error::SlugReserved { slug: slug.clone(), until, tenant })
    }

    /// The earlier slugs of tenants that have not expired.
    pub(super) async fn aliases_of(
        &self,
        ids: &[TenantId],
    ) -> Result<HashMap<TenantId, Vec<Alias>>, Error> {
        let mut aliases: HashMap<_, Vec<_>> = HashMap::new();
        let rows = alias::Entity::find()
            .filter(alias::Column::TenantId.eq_any(ids.iter().copied()))
            .filter(alias::Column::ExpiresAt.gt(tenantry_registry::now()))
            .all(&self.inner.db)
            .await?;
        for alias::Model { slug, tenant_id, redirects, expires_at, .. } in rows {
            aliases.entry(tenant_id).or_default().push(Alias { slug, redirects, expires_at });
        }
        Ok(aliases)
    }
}
