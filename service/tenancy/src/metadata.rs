//! Display name and tags of a tenant in `registry.tenants.metadata`: `{"name": …, "tags": […]}`.
//! Other keys belong to the application.

use std::str::FromStr;

use serde_json::{Value, json};
use tenantry_registry::{DisplayName, Tag};

const NAME: &str = "name";
const TAGS: &str = "tags";

/// The metadata of a new tenant, without keys for a missing name and missing tags.
pub(super) fn of(name: Option<&DisplayName>, tags: &[Tag]) -> Value {
    let mut metadata = json!({});
    if let Some(name) = name {
        metadata[NAME] = name.as_str().into();
    }
    if !tags.is_empty() {
        metadata[TAGS] = tags.iter().map(Tag::as_str).collect();
    }
    metadata
}

/// Reads the name and the sorted tags. Invalid ones are ignored, since the application may have
/// stored them.
pub(super) fn read(metadata: &Value) -> (Option<DisplayName>, Vec<Tag>) {
    let tags = metadata[TAGS].as_array().into_iter().flatten();
    let mut tags: Vec<Tag> = tags.filter_map(parse).collect();
    tags.sort_unstable();
    tags.dedup();
    (parse(&metadata[NAME]), tags)
}

fn parse<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_output() {
        assert_eq!(of(None, &[]), json!({}));
        assert_eq!(read(&json!({})), (None, Vec::new()));
        let name: DisplayName = "Acme \"Ltd\"".parse().unwrap();
        let tags = ["canary", "eu"].map(|tag| tag.parse().unwrap());
        let metadata = of(Some(&name), &tags);
        assert_eq!(metadata, json!({ "name": "Acme \"Ltd\"", "tags": ["canary", "eu"] }));
        assert_eq!(read(&metadata), (Some(name), tags.to_vec()));
    }

    #[test]
    fn ignores_values_of_the_application() {
        for metadata in [
            json!({ "plan": "gold" }),
            json!({ "name": { "first": "A" }, "tags": { "eu": true } }),
            json!({ "name": "two\nlines", "tags": ["Not A Tag", 1, null] }),
            json!(null),
        ] {
            assert_eq!(read(&metadata), (None, Vec::new()), "{metadata}");
        }
        let (name, tags) = read(&json!({ "plan": 1, "name": "A", "tags": ["b", 1, "a", "b"] }));
        assert_eq!(name, Some("A".parse().unwrap()));
        assert_eq!(tags, ["a", "b"].map(|tag| tag.parse().unwrap()));
    }
}
