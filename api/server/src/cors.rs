//! Pages of other origins that a tenant allows (CORS; Fetch, 3.3).
//!
//! The origins are those of the tenant, so they are known only after its lookup. The layer of
//! `tower-http` would answer every `OPTIONS`, also of tenants that allow no origin.
//! `Access-Control-Allow-Credentials` is never sent: keys and tokens are in the header
//! `Authorization`, which a page sets itself.

use axum::{
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use tenantry::HttpSettings;

/// Seconds for which a browser may remember the answer to a preflight request.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Headers of answers that pages may read, besides those that are always readable.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("etag, link, location, retry-after, www-authenticate, x-request-id");

/// What the answer to a preflight request depends on.
const VARY: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// Whether pages of an origin may call the tenant.
pub(crate) fn allows(settings: &HttpSettings, origin: &HeaderValue) -> bool {
    settings.cors_origins.iter().any(|allowed| origin == allowed.as_str())
}

/// The one origin of a request, if pages of it may call the tenant.
pub(crate) fn allowed_origin(settings: &HttpSettings, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next().filter(|origin| allows(settings, origin))?;
    origins.next().is_none().then(|| origin.clone())
}

/// The answer to a preflight request of an allowed origin. It needs no credentials, since browsers
/// send none with it.
pub(crate) fn preflight<B>(request: &Request<B>, origin: &HeaderValue) -> Option<Response> {
    let asked = request.headers();
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if request.method() != Method::OPTIONS {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.insert(header::VARY, VARY);
    Some(response)
}

/// Lets pages of an allowed origin read an answer, unless the application has decided itself.
pub(crate) fn add_headers(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    // A cache must not give the answer for one origin to another, nor to a page of none. Also where
    // no origin is allowed, so that the header does not say which tenants exist.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
