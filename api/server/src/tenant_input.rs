//! Bodies of requests to `/admin/tenants`.

use std::{fmt::Display, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tenantry::{
    DisplayName, HttpSettings, Metadata, MetadataError, NewTenant, Origin, Slug, Tag, TenantUpdate,
};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// A tenant to be created.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenantInput {
    slug: Option<String>,
    name: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    metadata: Option<Value>,
}

/// Changes to a tenant. What is missing stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantChange {
    /// Null removes the name.
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    /// Replaces all tags.
    #[serde(default, deserialize_with = "present")]
    tags: Option<Vec<String>>,
    /// Merged by key; null removes a key.
    #[serde(default, deserialize_with = "present")]
    metadata: Option<Value>,
    /// Null for the server's default.
    #[serde(default, deserialize_with = "present")]
    max_body_bytes: Option<Option<NonZeroU32>>,
    /// Replaces all origins.
    #[serde(default, deserialize_with = "present")]
    cors_origins: Option<Vec<String>>,
}

/// A field that is not missing, also if it is null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

impl tenantry::Input for NewTenantInput {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl tenantry::Input for TenantChange {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.parse().map(|_| ())
    }
}

impl NewTenantInput {
    /// Validates all fields.
    pub(crate) fn parse(&self) -> Result<NewTenant, ValidationErrors> {
        let mut errors = Errors::default();
        let slug = errors.slug(self.slug.as_deref());
        let name = self.name.as_ref().and_then(|name| errors.name(name));
        let domains = errors.parse_all("domains", "host_name", &self.domains);
        let tags = errors.tags(&self.tags);
        let metadata = self.metadata.as_ref().and_then(|value| errors.metadata(value));
        match slug {
            Some(slug) if errors.0.is_empty() => {
                let metadata = metadata.unwrap_or_default();
                Ok(NewTenant { name, domains, tags, metadata, ..NewTenant::new(slug) })
            }
            _ => Err(errors.0),
        }
    }
}

impl TenantChange {
    /// Validates all fields.
    pub(crate) fn parse(&self) -> Result<TenantUpdate, ValidationErrors> {
        let mut errors = Errors::default();
        let mut change = TenantUpdate::new();
        if let Some(name) = &self.name {
            change = change.name(name.as_ref().and_then(|name| errors.name(name)));
        }
        if let Some(tags) = &self.tags {
            change = change.tags(errors.tags(tags));
        }
        if let Some(value) = &self.metadata {
            change = change.metadata(errors.metadata(value).unwrap_or_default());
        }
        if let Some(bytes) = self.max_body_bytes {
            change = change.max_body_bytes(bytes);
        }
        if let Some(origins) = &self.cors_origins {
            change = change.cors_origins(errors.origins(origins));
        }
        if errors.0.is_empty() { Ok(change) } else { Err(errors.0) }
    }
}

/// The slug of a new tenant.
pub(crate) fn required_slug(text: Option<&str>) -> Result<Slug, ValidationErrors> {
    let mut errors = Errors::default();
    errors.slug(text).ok_or(errors.0)
}

/// The invalid fields so far.
#[derive(Default)]
pub(crate) struct Errors(pub(crate) ValidationErrors);

impl Errors {
    pub(crate) fn add(&mut self, field: impl Into<String>, code: &'static str, message: String) {
        let error = ValidationError::new(code).with_message(message.into());
        let kind = ValidationErrorsKind::Field(vec![error]);
        self.0.0.insert(field.into().into(), kind);
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(
        &mut self,
        field: impl Into<String>,
        code: &'static str,
        text: &str,
    ) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.add(field, code, error.to_string())).ok()
    }

    pub(crate) fn parse_all<T: FromStr<Err: Display>>(
        &mut self,
        field: &str,
        code: &'static str,
        texts: &[String],
    ) -> Vec<T> {
        let texts = texts.iter().enumerate();
        texts
            .filter_map(|(index, text)| self.parse(format!("{field}[{index}]"), code, text))
            .collect()
    }

    /// A slug that is required. `None` is an error.
    pub(crate) fn slug(&mut self, text: Option<&str>) -> Option<Slug> {
        if text.is_none() {
            self.add("slug", "required", "is required".to_owned());
        }
        text.and_then(|text| self.parse("slug", "slug", text))
    }

    fn name(&mut self, text: &str) -> Option<DisplayName> {
        self.parse("name", "name", text)
    }

    fn tags(&mut self, texts: &[String]) -> Vec<Tag> {
        if texts.len() > NewTenant::MAX_TAGS {
            let error = tenantry::Error::TooManyTags(texts.len());
            self.add("tags", "length", error.to_string());
        }
        self.parse_all("tags", "tag", texts)
    }

    fn origins(&mut self, texts: &[String]) -> Vec<Origin> {
        if texts.len() > HttpSettings::MAX_ORIGINS {
            let error = tenantry::Error::TooManyOrigins(texts.len());
            self.add("cors_origins", "length", error.to_string());
        }
        self.parse_all("cors_origins", "origin", texts)
    }

    fn metadata(&mut self, value: &Value) -> Option<Metadata> {
        let metadata = Metadata::try_from(value.clone());
        let add = |error: MetadataError| self.add("metadata", "metadata", error.to_string());
        metadata.map_err(add).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_what_is_missing_and_removes_what_is_null() {
        let parse = |json: &str| serde_json::from_str::<TenantChange>(json).unwrap().parse();
        assert_eq!(parse("{}").unwrap(), TenantUpdate::new());
        assert_eq!(parse(r#"{"name":null}"#).unwrap(), TenantUpdate::new().name(None));
        let name = "A".parse().unwrap();
        assert_eq!(parse(r#"{"name":"A"}"#).unwrap(), TenantUpdate::new().name(Some(name)));
        assert_eq!(parse(r#"{"tags":[]}"#).unwrap(), TenantUpdate::new().tags(Vec::new()));
        for json in [r#"{"tags":null}"#, r#"{"slug":"b"}"#, r#"{"domains":[]}"#] {
            serde_json::from_str::<TenantChange>(json).unwrap_err();
        }
        let errors = parse(r#"{"name":"","tags":["No"],"metadata":null}"#).unwrap_err();
        let mut fields: Vec<_> = errors.0.keys().map(ToString::to_string).collect();
        fields.sort();
        assert_eq!(fields, ["metadata", "name", "tags[0]"]);
    }
}
