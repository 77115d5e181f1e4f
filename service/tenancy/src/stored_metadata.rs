//! The column `metadata` of `registry.tenants`: `{"name": …, "tags": […]}` with the display name and
//! the tags of a tenant, and the keys of the application.

use std::str::FromStr;

use serde_json::{Map, Value};
use tenantry_registry::{DisplayName, Tag};

use super::{
    Metadata, MetadataError,
    metadata::{NAME, TAGS},
};

/// The keys of one tenant, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoredMetadata(Map<String, Value>);

impl StoredMetadata {
    /// The keys of a new tenant, without those for a missing name and missing tags.
    pub(super) fn new(
        name: Option<&DisplayName>,
        tags: &[Tag],
        metadata: &Metadata,
    ) -> Result<Self, MetadataError> {
        let mut it = Self::default();
        it.set_name(name);
        it.set_tags(tags);
        it.merge(metadata)?;
        Ok(it)
    }

    pub(super) fn set_name(&mut self, name: Option<&DisplayName>) {
        match name {
            Some(name) => self.0.insert(NAME.to_owned(), name.as_str().into()),
            None => self.0.remove(NAME),
        };
    }

    pub(super) fn set_tags(&mut self, tags: &[Tag]) {
        match tags {
            [] => self.0.remove(TAGS),
            tags => self.0.insert(TAGS.to_owned(), tags.iter().map(Tag::as_str).collect()),
        };
    }

    /// Replaces the application's keys that are in `metadata`, and removes those that are null.
    pub(super) fn merge(&mut self, metadata: &Metadata) -> Result<(), MetadataError> {
        metadata.merge_into(&mut self.0)
    }

    /// Replaces all keys of the application.
    pub(super) fn replace(&mut self, metadata: &Metadata) -> Result<(), MetadataError> {
        self.0.retain(|key, _| key == NAME || key == TAGS);
        self.merge(metadata)
    }

    /// Reads the name, the sorted tags and the keys of the application. An invalid name and invalid
    /// tags are ignored, since another program may have stored them.
    pub(super) fn read(self) -> (Option<DisplayName>, Vec<Tag>, Metadata) {
        let tags = self.0.get(TAGS).and_then(Value::as_array).into_iter().flatten();
        let mut tags: Vec<Tag> = tags.filter_map(parse).collect();
        tags.sort_unstable();
        tags.dedup();
        (self.0.get(NAME).and_then(parse), tags, Metadata::stored(self.0))
    }
}

impl From<Value> for StoredMetadata {
    /// A value that is not an object has no keys.
    fn from(value: Value) -> Self {
        match value {
            Value::Object(object) => Self(object),
            _ => Self::default(),
        }
    }
}

impl From<StoredMetadata> for Value {
    fn from(stored: StoredMetadata) -> Self {
        Self::Object(stored.0)
    }
}

fn parse<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(metadata: Value) -> (Option<DisplayName>, Vec<Tag>, Metadata) {
        StoredMetadata::from(metadata).read()
    }

    #[test]
    fn reads_its_own_output() {
        let empty = StoredMetadata::new(None, &[], &Metadata::default()).unwrap();
        assert_eq!(Value::from(empty), json!({}));
        assert_eq!(read(json!({})), (None, Vec::new(), Metadata::default()));
        let name: DisplayName = "Acme \"Ltd\"".parse().unwrap();
        let tags = ["canary", "eu"].map(|tag| tag.parse().unwrap());
        let metadata = Metadata::new(&json!({ "plan": "gold", "seats": null })).unwrap();
        let stored = StoredMetadata::new(Some(&name), &tags, &metadata).unwrap().into();
        let expected = json!({ "name": "Acme \"Ltd\"", "tags": ["canary", "eu"], "plan": "gold" });
        assert_eq!(stored, expected);
        let metadata = Metadata::new(&json!({ "plan": "gold" })).unwrap();
        assert_eq!(read(stored), (Some(name), tags.to_vec(), metadata));
    }

    #[test]
    fn ignores_values_of_other_programs() {
        for metadata in [
            json!({ "name": { "first": "A" }, "tags": { "eu": true } }),
            json!({ "name": "two\nlines", "tags": ["Not A Tag", 1, null] }),
            json!(null),
            json!(["a"]),
        ] {
            assert_eq!(read(metadata), (None, Vec::new(), Metadata::default()));
        }
        let (name, tags, metadata) =
            read(json!({ "plan": 1, "name": "A", "tags": ["b", 1, "a", "b"] }));
        assert_eq!(name, Some("A".parse().unwrap()));
        assert_eq!(tags, ["a", "b"].map(|tag| tag.parse().unwrap()));
        assert_eq!(metadata, Metadata::new(&json!({ "plan": 1 })).unwrap());
    }

    #[test]
    fn changes_leave_other_keys_as_they_are() {
        let mut stored = StoredMetadata::from(json!({ "name": "A", "tags": ["b"], "plan": 1 }));
        stored.set_name(None);
        assert_eq!(Value::from(stored.clone()), json!({ "tags": ["b"], "plan": 1 }));
        stored.replace(&Metadata::new(&json!({ "seats": 2 })).unwrap()).unwrap();
        assert_eq!(Value::from(stored.clone()), json!({ "tags": ["b"], "seats": 2 }));
        stored.set_tags(&[]);
        assert_eq!(Value::from(stored), json!({ "seats": 2 }));
    }
}
