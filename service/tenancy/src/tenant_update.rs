use sea_orm::sea_query::Expr;
use tenantry_registry::{DisplayName, Slug, Tag, audit::Action, tenant};

use super::{
    Error, Metadata, Tenancy, TenantInfo, stored_metadata::StoredMetadata,
    tenant_info::normalize_tags,
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
    /// Changes the display name, the tags and the metadata of a tenant. Returns its new entry.
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
    /// - [`Error::TooManyTags`]; [`Error::Metadata`] if all metadata together is too large;
    /// - [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    ///
    /// Nothing is changed then.
    pub async fn update(&self, slug: &Slug, mut change: TenantUpdate) -> Result<TenantInfo, Error> {
        if let Some(tags) = &mut change.tags {
            normalize_tags(tags)?;
        }
        let row = self
            .change_row(slug, &Action::Updated, |row| {
                let before = StoredMetadata::from(row.metadata.clone());
                let mut after = before.clone();
                change.apply(&mut after)?;
                Ok(if before == after {
                    Vec::new()
                } else {
                    let after = serde_json::Value::from(after);
                    vec![(tenant::Column::Metadata, Expr::value(after))]
                })
            })
            .await?;
        self.info(row).await
    }
}
