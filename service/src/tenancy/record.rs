use chrono::{DateTime, Utc};
use entity::registry::{Hostname, SchemaName, Slug, TenantId, tenant};
use serde::Serialize;

/// What the registry keeps about a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantRecord {
    /// Key.
    #[serde(serialize_with = "as_text")]
    pub id: TenantId,
    /// Name in URLs and commands.
    #[serde(serialize_with = "as_text")]
    pub slug: Slug,
    /// Schema of the tenant's tables.
    #[serde(serialize_with = "as_text")]
    pub schema: SchemaName,
    /// Whether the tenant may be used: `active`, `suspended` or `archived`.
    pub status: &'static str,
    /// Newest migration applied to the schema.
    pub schema_version: Option<String>,
    /// Host names besides the subdomain, sorted.
    #[serde(serialize_with = "all_as_text")]
    pub domains: Vec<Hostname>,
    /// When the tenant was created.
    pub inserted_at: DateTime<Utc>,
    /// When its entry was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A tenant to be created.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its name; the name of its schema follows from it.
    pub slug: Slug,
    /// Host names besides the subdomain.
    pub domains: Vec<Hostname>,
}

impl NewTenant {
    /// A tenant with no host names of its own.
    #[must_use]
    pub fn new(slug: Slug) -> Self {
        Self { slug, domains: Vec::new() }
    }
}

impl TenantRecord {
    /// `None` for a spare, which is no tenant yet.
    pub(super) fn new(row: tenant::Model, mut domains: Vec<Hostname>) -> Option<Self> {
        domains.sort_unstable();
        Some(Self {
            id: row.id,
            slug: row.slug?,
            schema: row.schema,
            status: row.status.as_str(),
            schema_version: row.schema_version,
            domains,
            inserted_at: row.inserted_at,
            updated_at: row.updated_at,
        })
    }
}

fn as_text<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn all_as_text<S: serde::Serializer>(
    values: &[Hostname],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(Hostname::as_str))
}
