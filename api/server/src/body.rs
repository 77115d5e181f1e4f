//! JSON bodies, with all invalid fields in one answer.

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, OptionalFromRequest, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use tenantry::Input;
use tokio::time::timeout;

use crate::{
    BODY_DEADLINE, MAX_BODY,
    api_error::ApiError,
    host_guard::BodyLimit,
    problem::{FieldError, Problem, field_errors},
};

/// A JSON body. As an extractor it validates the input.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Input, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type().into());
        }
        let limit = request.extensions().get().map_or(MAX_BODY, |BodyLimit(limit)| *limit);
        let body = timeout(BODY_DEADLINE, Bytes::from_request(request, state));
        let body = body.await.map_err(|_| Problem::slow_body())?.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::too_large(limit)
            } else {
                Problem::malformed("the body could not be read to the end; send it again")
            }
        })?;
        Ok(Self(read(&body)?))
    }
}

/// Refuses a body by its announced length, before the client sends it.
pub(crate) fn confirm_length(parts: &Parts) -> Result<(), Problem> {
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    match (parts.extensions.get(), length.and_then(|length| length.parse::<u64>().ok())) {
        (Some(BodyLimit(limit)), Some(length)) if length > *limit as u64 => {
            Err(Problem::too_large(*limit))
        }
        _ => Ok(()),
    }
}

/// For a body that may be missing.
impl<T: DeserializeOwned + Input, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        let has_body = !request.body().is_end_stream();
        match has_body || request.headers().contains_key(header::CONTENT_TYPE) {
            true => <Self as FromRequest<S>>::from_request(request, state).await.map(Some),
            false => Ok(None),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// `application/json` or any `…+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .is_some_and(|kind| {
            kind == "application/json"
                || (kind.starts_with("application/") && kind.ends_with("+json"))
        })
}

/// Parses and validates a body.
fn read<T: DeserializeOwned + Input>(body: &[u8]) -> Result<T, Problem> {
    // Fast path for valid input. serde would also accept a JSON array, so require an object.
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(mut input) = serde_json::from_slice::<T>(body)
        && input.check().is_ok()
    {
        return Ok(input);
    }
    collect_field_errors(body)
}

/// Parses an invalid body. Removes each field that is unknown or of the wrong type and parses the
/// rest again, so that all such fields are found and the other ones are validated.
fn collect_field_errors<T: DeserializeOwned + Input>(body: &[u8]) -> Result<T, Problem> {
    let Object { fields, mut errors } = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Problem::malformed("the body must be a JSON object")
        } else {
            Problem::malformed(format!("the body is not JSON: {error}"))
        }
    })?;
    let mut fields = Value::Object(fields);
    let mut unread = Vec::new();
    let mut input: T = loop {
        let error = match serde_path_to_error::deserialize(&fields) {
            Ok(input) => break input,
            Err(error) => error,
        };
        let (path, message) = (error.path().clone(), error.into_inner().to_string());
        let removed = match (path.iter().next(), &mut fields) {
            (Some(Segment::Map { key }), Value::Object(fields)) => fields.remove_entry(key),
            _ => None,
        };
        let Some((top, _)) = removed else {
            // Not about a field, so none can be removed.
            return Err(Problem::malformed(format!("the body cannot be read: {message}")));
        };
        let code = if message.starts_with("unknown field ") { "unknown" } else { "type" };
        errors.push(FieldError { field: path.to_string(), code: code.into(), message });
        unread.push(top);
    };
    if let Err(broken) = input.check() {
        // Removed fields are not reported as missing.
        errors
            .extend(field_errors(&broken).into_iter().filter(|rule| !unread.contains(&rule.field)));
    }
    if errors.is_empty() { Ok(input) } else { Err(Problem::invalid(errors)) }
}

/// The fields of a JSON object, and errors for duplicates.
struct Object {
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object { fields: Map::new(), errors: Vec::new() };
        while let Some((field, value)) = map.next_entry::<String, Value>()? {
            if object.fields.insert(field.clone(), value).is_some() {
                let message = "is given twice".to_owned();
                object.errors.push(FieldError { field, code: "twice".into(), message });
            }
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenantry::Input;
    use validator::{Validate, ValidationErrors};

    use super::*;

    #[derive(Deserialize, Validate)]
    #[serde(deny_unknown_fields)]
    struct NewGuard {
        #[validate(required(code = "required"), length(min = 1, code = "required"))]
        name: Option<String>,
        #[validate(required(code = "required"), length(min = 1, code = "required"))]
        position: Option<String>,
    }

    impl Input for NewGuard {
        fn check(&mut self) -> Result<(), ValidationErrors> {
            self.validate()
        }
    }

    /// The invalid fields of a body, with their codes.
    fn refused<T: DeserializeOwned + Input>(body: &str) -> Value {
        let Err(problem) = read::<T>(body.as_bytes()) else { panic!("{body} was accepted") };
        let problem = serde_json::to_value(&problem).unwrap();
        let Value::Array(errors) = &problem["errors"] else { panic!("{problem}") };
        errors.iter().map(|error| json!([error["field"], error["code"]])).collect()
    }

    #[test]
    fn reports_all_invalid_fields() {
        for (body, wanted) in [
            (r#"{"name":1,"position":""}"#, json!([["name", "type"], ["position", "required"]])),
            (r#"{"name":1,"position":[]}"#, json!([["name", "type"], ["position", "type"]])),
            (
                r#"{"nme":"x"}"#,
                json!([["name", "required"], ["nme", "unknown"], ["position", "required"]]),
            ),
            (
                r#"{"b":{"c":1},"a":1,"name":"x","position":"y"}"#,
                json!([["a", "unknown"], ["b", "unknown"]]),
            ),
            (r#"{"name":"x","name":"y","position":"z"}"#, json!([["name", "twice"]])),
            (
                r#"{"":1,"a.b":2,"name":"x","position":"z"}"#,
                json!([["", "unknown"], ["a.b", "unknown"]]),
            ),
        ] {
            assert_eq!(refused::<NewGuard>(body), wanted, "{body}");
        }
    }

    #[test]
    fn reports_thousands_of_unknown_fields() {
        let fields: Vec<String> = (0..7000).map(|it| format!("\"{it}\":1")).collect();
        let body = format!("{{{}}}", fields.join(","));
        assert!(body.len() <= crate::MAX_BODY + 16_000);
        let Value::Array(errors) = refused::<NewGuard>(&body) else { panic!() };
        assert_eq!(errors.len(), 7002);
    }
}
