use std::num::NonZeroU32;

use sea_orm::sea_query::{Expr, SimpleExpr};
use tenantry_registry::{DisplayName, Origin, Slug, Tag, audit::Action, tenant};

use super::{
    Error, HttpSettings, Metadata, Tenancy, TenantInfo, locked_row::Changed,
    stored_metadata::StoredMetadata, tenant_info::normalize_tags,
};

/// Changes to the entry of a tenant, see [`Tenancy::update`]. What is not set stays as it is.
///
/// ```
/// use tenantry::{Metadata, TenantUpdate};
///
/// let change = TenantUpdate::new()
///     .name(Some("Acme, Ltd".parse()?))
///     .tags(vec!["canary".parse()?])
///     .metadata(Metadata::new(&serde_json::json!({ "plan": "gold", "trial_until": null }))?);
/// # Ok::<(), tenantry::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantUpdate {
    name: Option<Option<DisplayName>>,
    tags: Option<Vec<Tag>>,
    metadata: Option<MetadataChange>,
    max_body_bytes: Option<Option<NonZeroU32>>,
    cors_origins: Option<Vec<Origin>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MetadataChange {
    Merge(Metadata),
    Replace(Metadata),
}

impl TenantUpdate {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the display name; `None` removes it.
    #[must_use]
    pub fn name(mut self, name: Option<DisplayName>) -> Self {
        self.name = Some(name);
        self
    }

    /// Replaces all tags; an empty list removes them.
    #[must_use]
    pub fn tags(mut self, tags: Vec<Tag>) -> Self {
        self.tags = Some(tags);
        self
    }

    /// Merges metadata: each of its keys is set, or removed if its value is null. Other keys stay
    /// as they are, so that programs which change different keys do not undo each other's changes.
    /// An object below a key is replaced as a whole.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(MetadataChange::Merge(metadata));
        self
    }

    /// Replaces all metadata.
    #[must_use]
    pub fn replace_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(MetadataChange::Replace(metadata));
        self
    }

    /// Sets the maximum length of a request body in bytes; `None` for the server's default.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: Option<NonZeroU32>) -> Self {
        self.max_body_bytes = Some(bytes);
        self
    }

    /// Replaces the origins whose pages may call the tenant from a browser (CORS); an empty list
    /// removes them.
    #[must_use]
    pub fn cors_origins(mut self, origins: Vec<Origin>) -> Self {
        self.cors_origins = Some(origins);
        self
    }

    /// The columns of a row that change.
    fn columns(&self, row: &tenant::Model) -> Result<Vec<(tenant::Column, SimpleExpr)>, Error> {
        let mut columns = Vec::new();
        let before = StoredMetadata::from(row.metadata.clone());
        let mut after = before.clone();
        self.apply(&mut after)?;
        if before != after {
            let after = serde_json::Value::from(after);
            columns.push((tenant::Column::Metadata, Expr::value(after)));
        }
        if let Some(bytes) = self.max_body_bytes.map(|bytes| bytes.map(|it| i64::from(it.get())))
            && bytes != row.max_body_bytes
        {
            columns.push((tenant::Column::MaxBodyBytes, Expr::value(bytes)));
        }
        if let Some(origins) = &self.cors_origins {
            let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
            if origins != row.cors_origins {
                columns.push((tenant::Column::CorsOrigins, Expr::value(origins)));
            }
        }
        Ok(columns)
    }

    fn apply(&self, stored: &mut StoredMetadata) -> Result<(), Error> {
        if let Some(name) = &self.name {
            stored.set_name(name.as_ref());
        }
        if let Some(tags) = &self.tags {
            stored.set_tags(tags);
        }
        match &self.metadata {
            Some(MetadataChange::Merge(metadata)) => stored.merge(metadata)?,
            Some(MetadataChange::Replace(metadata)) => stored.replace(metadata)?,
            None => {}
        }
        Ok(())
    }
}

impl Tenancy {
    /// Changes the display name, the tags, the metadata and the HTTP settings of a tenant. Returns its new entry.
    /// Concurrent changes of one tenant are made one after another, so none of them is lost. Other
    /// processes are notified.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// use tenantry::{Metadata, TenantUpdate};
    ///
    /// let gold = Metadata::new(&serde_json::json!({ "plan": "gold" }))?;
    /// tenancy.update(&"acme".parse()?, TenantUpdate::new().metadata(gold)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`]; [`Error::Unavailable`] if the tenant is being dropped;
    /// - [`Error::TooManyTags`]; [`Error::TooManyOrigins`]; [`Error::Metadata`] if all metadata together is too large;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    ///
    /// Nothing is changed then.
    pub async fn update(&self, slug: &Slug, mut change: TenantUpdate) -> Result<TenantInfo, Error> {
        if let Some(tags) = &mut change.tags {
            normalize_tags(tags)?;
        }
        if let Some(origins) = &mut change.cors_origins {
            origins.sort_unstable();
            origins.dedup();
            if origins.len() > HttpSettings::MAX_ORIGINS {
                return Err(Error::TooManyOrigins(origins.len()));
            }
        }
        let Changed { row, .. } =
            self.change_row(slug, &Action::Updated, |row| change.columns(row)).await?;
        self.inner.cache.set_http(row.id, HttpSettings::stored(&row));
        self.info(row).await
    }
}
