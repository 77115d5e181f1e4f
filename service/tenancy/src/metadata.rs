use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

/// Keys that the registry uses beside those of the application.
pub(super) const NAME: &str = "name";
pub(super) const TAGS: &str = "tags";

/// Data of the application about a tenant, such as its plan: a JSON object.
///
/// It is stored in `registry.tenants.metadata`, beside the display name and the tags, so it has
/// neither a key `name` nor a key `tags`. A key whose value is null counts as missing. Tenants'
/// handles do not read it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tenantry::Metadata;
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Account {
///     plan: String,
///     seats: Option<u32>,
/// }
///
/// let account = Account { plan: "gold".to_owned(), seats: None };
/// let metadata = Metadata::new(&account)?;
/// assert_eq!(metadata.to::<Account>()?, account);
/// assert!(Metadata::new(&["gold"]).is_err());
/// # Ok::<(), tenantry::MetadataError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Map<String, Value>", try_from = "Value")]
pub struct Metadata(Map<String, Value>);

/// Why a value cannot be the metadata of a tenant, or cannot be read from it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The value is not an object.
    #[error("metadata must be a JSON object, not {0}")]
    NotAnObject(&'static str),

    /// A key belongs to the registry.
    #[error(
        "metadata must not have the key {0:?}, where the registry stores the {0} of the tenant; use \
         another key"
    )]
    ReservedKey(&'static str),

    /// The JSON text is too long.
    #[error("metadata of {0} bytes is too large; it has at most {max}", max = Metadata::MAX_BYTES)]
    TooLarge(usize),

    /// Arrays and objects are nested too deeply.
    #[error("metadata is nested too deeply; use at most {max} levels", max = Metadata::MAX_DEPTH)]
    TooDeep,

    /// PostgreSQL stores no such text.
    #[error("metadata contains the character U+0000, which PostgreSQL does not store; remove it")]
    NulCharacter,

    /// The type cannot be written as JSON, or the JSON does not fit the type.
    #[error("metadata does not fit its type: {0}")]
    Type(#[from] serde_json::Error),
}

impl Metadata {
    /// Maximum length, in bytes of compact JSON.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Maximum nesting of arrays and objects.
    pub const MAX_DEPTH: usize = 32;

    /// Metadata with the fields of `value`, a struct or a map.
    ///
    /// # Errors
    /// [`MetadataError`] if it breaks a rule of [`Metadata`].
    pub fn new(value: &impl Serialize) -> Result<Self, MetadataError> {
        serde_json::to_value(value)?.try_into()
    }

    /// The metadata as a type of the application.
    ///
    /// # Errors
    /// [`MetadataError::Type`] if it does not fit the type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, MetadataError> {
        Ok(serde_json::from_value(Value::Object(self.0.clone()))?)
    }

    /// The metadata as a JSON object.
    #[must_use]
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The metadata among the stored keys of a tenant. Not checked, since other programs may have
    /// written it.
    pub(super) fn stored(mut object: Map<String, Value>) -> Self {
        object.retain(|key, value| key != NAME && key != TAGS && !value.is_null());
        Self(object)
    }

    /// Replaces the keys of `stored` that are in this metadata.
    ///
    /// # Errors
    /// [`MetadataError::TooLarge`] if the result is too large.
    pub(super) fn merge_into(&self, stored: &mut Map<String, Value>) -> Result<(), MetadataError> {
        for (key, value) in &self.0 {
            match value {
                Value::Null => stored.remove(key),
                value => stored.insert(key.clone(), value.clone()),
            };
        }
        check_size(&Self::stored(stored.clone()).0)
    }
}

impl TryFrom<Value> for Metadata {
    type Error = MetadataError;

    fn try_from(value: Value) -> Result<Self, MetadataError> {
        let object = match value {
            Value::Object(object) => object,
            Value::Null => return Err(MetadataError::NotAnObject("null")),
            Value::Bool(_) => return Err(MetadataError::NotAnObject("a boolean")),
            Value::Number(_) => return Err(MetadataError::NotAnObject("a number")),
            Value::String(_) => return Err(MetadataError::NotAnObject("a string")),
            Value::Array(_) => return Err(MetadataError::NotAnObject("an array")),
        };
        if let Some(key) = [NAME, TAGS].into_iter().find(|key| object.contains_key(*key)) {
            return Err(MetadataError::ReservedKey(key));
        }
        check_size(&object)?;
        check_object(&object, 1)?;
        Ok(Self(object))
    }
}

impl From<Metadata> for Map<String, Value> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

fn check_size(object: &Map<String, Value>) -> Result<(), MetadataError> {
    let bytes = serde_json::to_vec(object)?.len();
    if bytes > Metadata::MAX_BYTES { Err(MetadataError::TooLarge(bytes)) } else { Ok(()) }
}

fn check_object(object: &Map<String, Value>, depth: usize) -> Result<(), MetadataError> {
    object.iter().try_for_each(|(key, value)| {
        check_text(key)?;
        check_value(value, depth + 1)
    })
}

/// Checks a value that is at this level if it is an array or an object.
fn check_value(value: &Value, depth: usize) -> Result<(), MetadataError> {
    match value {
        Value::String(text) => check_text(text),
        Value::Array(_) | Value::Object(_) if depth > Metadata::MAX_DEPTH => {
            Err(MetadataError::TooDeep)
        }
        Value::Array(values) => values.iter().try_for_each(|it| check_value(it, depth + 1)),
        Value::Object(object) => check_object(object, depth),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), MetadataError> {
    if text.contains('\0') { Err(MetadataError::NulCharacter) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(value: Value) -> String {
        Metadata::try_from(value).unwrap_err().to_string()
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({}), |inner, _| json!({ "in": inner }))
    }

    #[test]
    fn values_that_cannot_be_stored_are_refused() {
        assert_eq!(refused(json!([1])), "metadata must be a JSON object, not an array");
        assert_eq!(refused(json!(null)), "metadata must be a JSON object, not null");
        for key in ["name", "tags"] {
            assert!(refused(json!({ key: 1 })).contains(&format!("not have the key {key:?}")));
        }
        for value in [json!({ "a\0": 1 }), json!({ "a": ["\0"] }), json!({ "a": { "\0": 1 } })] {
            assert!(refused(value).contains("U+0000"));
        }
        assert!(Metadata::try_from(nested(Metadata::MAX_DEPTH)).is_ok());
        assert!(refused(nested(Metadata::MAX_DEPTH + 1)).contains("at most 32 levels"));
        assert!(refused(json!({ "a": vec![nested(Metadata::MAX_DEPTH)] })).contains("levels"));
    }

    #[test]
    fn the_size_is_that_of_compact_json() {
        let of = |length: usize| json!({ "a": "x".repeat(length - r#"{"a":""}"#.len()) });
        assert!(Metadata::try_from(of(Metadata::MAX_BYTES)).is_ok());
        let refused = refused(of(Metadata::MAX_BYTES + 1));
        assert_eq!(refused, "metadata of 16385 bytes is too large; it has at most 16384");
    }

    #[test]
    fn merging_replaces_keys_and_removes_those_that_are_null() {
        let mut stored = json!({ "name": "A", "plan": { "a": 1 }, "seats": 1, "since": 2020 });
        let stored = stored.as_object_mut().unwrap();
        let change = Metadata::try_from(json!({ "plan": { "b": 2 }, "seats": null, "x": null }));
        change.unwrap().merge_into(stored).unwrap();
        let merged = json!({ "name": "A", "plan": { "b": 2 }, "since": 2020 });
        assert_eq!(Value::Object(stored.clone()), merged);
    }

    #[test]
    fn merging_keeps_the_limit_of_the_whole() {
        let half = |key: &str| {
            Metadata::new(&json!({ key: "x".repeat(Metadata::MAX_BYTES / 2) })).unwrap()
        };
        let mut stored = half("a").into();
        half("a").merge_into(&mut stored).unwrap();
        let error = half("b").merge_into(&mut stored).unwrap_err();
        assert!(matches!(error, MetadataError::TooLarge(_)), "{error}");
    }

    #[test]
    fn serializes_as_the_object_and_is_checked_when_it_is_deserialized() {
        let json = r#"{"plan":"gold"}"#;
        let metadata: Metadata = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&metadata).unwrap(), json);
        assert!(serde_json::from_str::<Metadata>(r#"{"name":"A"}"#).is_err());
    }
}
