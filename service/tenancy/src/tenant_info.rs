use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use tenantry_registry::{DisplayName, Hostname, Origin, SchemaName, Slug, Tag, TenantId, tenant};

use super::{Alias, Error, HttpSettings, Limits, Metadata, stored_metadata::StoredMetadata};

/// The registry entry of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantInfo {
    /// Id.
    pub id: TenantId,
    /// Name in URLs and commands.
    #[serde(serialize_with = "as_text")]
    pub slug: Slug,
    /// Display name.
    #[serde(serialize_with = "perhaps_as_text")]
    pub name: Option<DisplayName>,
    /// Schema of the tenant's tables.
    #[serde(serialize_with = "as_text")]
    pub schema: SchemaName,
    /// `active`, `suspended`, `archived` or `dropping`.
    pub status: &'static str,
    /// Why the tenant is suspended, for operators. An archived tenant keeps the reason.
    pub status_reason: Option<String>,
    /// When the tenant was last suspended, resumed, archived or restored.
    pub status_since: Option<DateTime<Utc>>,
    /// Until when the data of an archived tenant is kept, see
    /// [`Tenancy::archive`](super::Tenancy::archive).
    pub purge_after: Option<DateTime<Utc>>,
    /// Whether its statements may only read.
    pub read_only: bool,
    /// Newest migration applied to the schema.
    pub schema_version: Option<String>,
    /// Hostnames in addition to the subdomain, sorted.
    #[serde(serialize_with = "all_as_text")]
    pub domains: Vec<Hostname>,
    /// Earlier slugs that are not free yet, sorted.
    pub aliases: Vec<Alias>,
    /// Tags, sorted.
    #[serde(serialize_with = "all_as_text")]
    pub tags: Vec<Tag>,
    /// Data of the application.
    pub metadata: Metadata,
    /// See [`Limits::max_connections`].
    pub max_connections: Option<NonZeroU32>,
    /// See [`Limits::max_waiting`].
    pub max_waiting: Option<u32>,
    /// See [`HttpSettings::max_body_bytes`].
    pub max_body_bytes: Option<NonZeroU32>,
    /// See [`HttpSettings::cors_origins`].
    #[serde(serialize_with = "all_as_text")]
    pub cors_origins: Vec<Origin>,
    /// When the tenant was created.
    pub inserted_at: DateTime<Utc>,
    /// When the entry was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A tenant to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Name in URLs and commands, from which the name of the schema is derived.
    pub slug: Slug,
    /// Display name.
    pub name: Option<DisplayName>,
    /// Hostnames in addition to the subdomain.
    pub domains: Vec<Hostname>,
    /// Tags, such as `canary`.
    pub tags: Vec<Tag>,
    /// Data of the application, such as the tenant's plan.
    pub metadata: Metadata,
}

impl NewTenant {
    /// Maximum number of tags of one tenant.
    pub const MAX_TAGS: usize = 50;

    /// A tenant with only a slug.
    #[must_use]
    pub fn new(slug: Slug) -> Self {
        let metadata = Metadata::default();
        Self { slug, name: None, domains: Vec::new(), tags: Vec::new(), metadata }
    }

    /// Sorts hostnames and tags and removes duplicates, as [`Tenancy::create`](super::Tenancy::create)
    /// does.
    ///
    /// # Errors
    /// [`Error::TooManyTags`].
    pub fn normalize(&mut self) -> Result<(), Error> {
        self.domains.sort_unstable();
        self.domains.dedup();
        normalize_tags(&mut self.tags)
    }
}

/// Sorts tags and removes duplicates.
pub(super) fn normalize_tags(tags: &mut Vec<Tag>) -> Result<(), Error> {
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > NewTenant::MAX_TAGS {
        return Err(Error::TooManyTags(tags.len()));
    }
    Ok(())
}

impl TenantInfo {
    /// The [metadata](Self::metadata) as a type of the application.
    ///
    /// ```
    /// #[derive(serde::Deserialize)]
    /// struct Account {
    ///     plan: String,
    /// }
    ///
    /// fn plan(tenant: &tenantry::TenantInfo) -> Result<String, tenantry::Error> {
    ///     Ok(tenant.metadata::<Account>()?.plan)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnreadableMetadata`] if it does not fit the type.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let unreadable = |source| Error::UnreadableMetadata { slug: self.slug.clone(), source };
        self.metadata.to().map_err(unreadable)
    }

    /// `None` for a spare, which has no slug.
    pub(super) fn new(
        row: tenant::Model,
        mut domains: Vec<Hostname>,
        mut aliases: Vec<Alias>,
    ) -> Option<Self> {
        domains.sort_unstable();
        aliases.sort_unstable();
        let HttpSettings { max_body_bytes, cors_origins } = HttpSettings::stored(&row);
        let (name, tags, metadata) = StoredMetadata::from(row.metadata).read();
        let Limits { max_connections, max_waiting } =
            Limits::stored(row.max_connections, row.max_waiting);
        Some(Self {
            id: row.id,
            slug: row.slug?,
            name,
            schema: row.schema,
            status: row.status.as_str(),
            status_reason: row.status_reason,
            status_since: row.status_since,
            purge_after: row.purge_after,
            read_only: row.read_only,
            schema_version: row.schema_version,
            domains,
            aliases,
            tags,
            metadata,
            max_connections,
            max_waiting,
            max_body_bytes,
            cors_origins,
            inserted_at: row.inserted_at,
            updated_at: row.updated_at,
        })
    }
}

pub(super) fn as_text<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn perhaps_as_text<S: serde::Serializer>(
    value: &Option<impl std::fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn all_as_text<S: serde::Serializer>(
    values: &[impl std::fmt::Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}
