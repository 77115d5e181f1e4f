use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, FromQueryResult, Statement};
use tenantry_registry::{Slug, TenantId, tenant};
use uuid::Uuid;

use super::{Prefix, VerifiedKey, scopes};

/// A row of the table of keys, with the tenant's name and status.
#[derive(Clone, FromQueryResult)]
pub(crate) struct StoredKey {
    pub(super) id: Uuid,
    pub(super) hash: Vec<u8>,
    pub(super) tenant_id: Option<TenantId>,
    scopes: Vec<String>,
    name: String,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    slug: Option<Slug>,
    status: Option<tenant::Status>,
}

/// The query of these keys.
pub(crate) fn find_all(prefixes: &[Prefix]) -> Statement {
    let prefixes: Vec<String> = prefixes.iter().map(|it| it.as_str().to_owned()).collect();
    Statement::from_sql_and_values(
        DbBackend::Postgres,
        r#"SELECT k."prefix", k."id", k."hash", k."tenant_id", k."scopes", k."name", k."expires_at",
            k."last_used_at", k."revoked_at", t."slug", t."status"
        FROM "registry"."api_keys" k LEFT JOIN "registry"."tenants" t ON t."id" = k."tenant_id"
        WHERE k."prefix" = ANY ($1)"#,
        [prefixes.into()],
    )
}

impl StoredKey {
    /// The owner. `None` if the tenant was dropped.
    pub(super) fn owner(&self) -> Option<VerifiedKey> {
        let tenant = match (self.tenant_id, &self.slug, self.status) {
            (None, ..) => None,
            (Some(id), Some(slug), Some(status)) if !tenant::Status::GONE.contains(&status) => {
                Some((id, slug.clone()))
            }
            _ => return None,
        };
        let scopes = scopes(&self.scopes);
        Some(VerifiedKey { id: self.id, name: self.name.clone(), tenant, scopes })
    }
}
