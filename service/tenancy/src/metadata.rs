//! Name and tags of a tenant as `registry.tenants.metadata` keeps them: `{"name": …, "tags": […]}`.
//! Every other key is the application's.

use std::str::FromStr;

use serde_json::{Value, json};
use tenantry_registry::{DisplayName, Tag};

use super::NewTenant;

const NAME: &str = "name";
const TAGS: &str = "tags";

/// The metadata of a tenant that is created: what it does not have gets no key.
pub(super) fn of(new: &NewTenant) -> Value {
    let mut metadata = json!({});
    if let Some(name) = &new.name {
        metadata[NAME] = name.as_str().into();
    }
    if !new.tags.is_empty() {
        metadata[TAGS] = new.tags.iter().map(Tag::as_str).collect();
    }
    metadata
}

/// Name and tags, these sorted. What breaks their rules was put there by somebody else, to whom it
/// may mean something, and does not count.
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
    fn what_is_written_is_read() {
        let mut new = NewTenant::new("acme".parse().unwrap());
        assert_eq!(of(&new), json!({}));
        assert_eq!(read(&of(&new)), (None, Vec::new()));
        new.name = Some("Acme \"Ltd\"".parse().unwrap());
        new.tags = ["canary", "eu"].map(|tag| tag.parse().unwrap()).to_vec();
        assert_eq!(of(&new), json!({ "name": "Acme \"Ltd\"", "tags": ["canary", "eu"] }));
        assert_eq!(read(&of(&new)), (new.name, new.tags));
    }

    #[test]
    fn what_an_application_keeps_there_is_no_name_and_no_tag() {
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
