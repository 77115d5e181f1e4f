//! Problem documents (RFC 9457), the answers to all errors.

mod access;
mod tenancy_error;

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use validator::ValidationErrors;

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Kind of the problem: `urn:tenantry:problem:…`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What is wrong with this request and how to fix it. Never the cause of a 5xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'static, str>>,
    /// Invalid fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Seconds after which to retry.
    #[serde(skip)]
    retry_after: Option<u8>,
    /// The `WWW-Authenticate` header.
    #[serde(skip)]
    challenge: Option<String>,
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FieldError {
    /// Name of the field.
    pub field: String,
    /// Code of the violated rule.
    pub code: Cow<'static, str>,
    /// The violated rule in words.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &str, title: &'static str) -> Self {
        Self {
            kind: format!("urn:tenantry:problem:{kind}"),
            title,
            status,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            challenge: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn is_server_error(&self) -> bool {
        self.status.is_server_error()
    }

    /// 404: no route has the path.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "No such path").detail(
            "no route has this path on this host; the admin API, on the base domain, is below \
             /admin/tenants",
        )
    }

    /// 405: the route has other methods.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            .detail("the Allow header lists the methods of this path")
    }

    /// 400: the request cannot be parsed.
    #[must_use]
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request").detail(detail)
    }

    /// 415: the Content-Type is not JSON.
    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not JSON")
            .detail("send the body with `content-type: application/json`")
    }

    /// 413: the body is too long.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large")
            .detail(format!("the body may have at most {limit} bytes"))
    }

    /// 403: a page of another origin sent the request.
    pub(crate) fn cross_origin() -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross-origin", "Request of another origin").detail(
            "a page of another origin may not send this request; an operator can allow the origin \
             for the tenant",
        )
    }

    /// 404: no tenant has the host.
    pub(crate) fn unknown_host(host: &str) -> Self {
        Self::of_tenancy(&tenantry::Error::UnknownHost(host.to_owned()))
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "Body too slow").detail(format!(
            "the body did not arrive within {} seconds; send it again, and faster",
            crate::BODY_DEADLINE.as_secs()
        ))
    }

    /// 422: fields are invalid.
    #[must_use]
    pub fn invalid(mut errors: Vec<FieldError>) -> Self {
        errors.sort_unstable();
        errors.dedup();
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid input");
        Self { errors, ..problem.detail("see `errors` for each invalid field") }
    }

    /// 404: the row does not exist.
    #[must_use]
    pub fn not_found(noun: &str, id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .detail(format!("{noun} {id} not found; GET /{noun}s lists the existing ones"))
    }

    /// 404: no tenant has the slug.
    pub(crate) fn unknown_tenant(slug: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-tenant", "Unknown tenant")
            .detail(format!("tenant {slug} not found; GET /admin/tenants lists the existing ones"))
    }

    /// 500: a bug or an unexpected error.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error")
            .detail("report the x-request-id of this answer: the error is logged under it")
    }

    /// 503: a retry may succeed.
    #[must_use]
    pub fn busy(kind: &str, title: &'static str) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title);
        Self { retry_after: Some(1), ..problem.detail("try again in a moment") }
    }
}

/// The invalid fields of a validation.
#[must_use]
pub fn field_errors(errors: &ValidationErrors) -> Vec<FieldError> {
    let errors = errors.field_errors().into_iter();
    errors
        .flat_map(|(field, errors)| {
            errors.iter().map(move |error| FieldError {
                field: field.to_string(),
                code: error.code.clone(),
                message: error.message.as_deref().unwrap_or("is not valid").to_owned(),
            })
        })
        .collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
        // Cannot fail: strings, numbers and lists of both.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        let challenge = self.challenge.and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
