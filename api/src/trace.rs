//! One span per request, one line per answer, and the cause of a 5xx logged once.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::HeaderValue,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::{Instrument, error, field::Empty, info, info_span};

use crate::{
    DEADLINE,
    problem::{Cause, Problem},
};

/// The header by which a request can be found in the log.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Runs a request in its span and under its deadline, and logs how it went.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = info_span!(
        "request",
        id,
        method = %request.method(),
        path = request.uri().path(),
        route,
        tenant = Empty,
    );
    let start = Instant::now();
    async move {
        let response = match tokio::time::timeout(DEADLINE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::busy("deadline", "Took too long").into_response(),
        };
        let (status, micros) = (response.status().as_u16(), start.elapsed().as_micros());
        if let Some(Cause(cause)) = response.extensions().get() {
            error!(status, micros, cause = %chain(cause.as_ref()), "failed");
        } else {
            info!(status, micros, "answered");
        }
        response
    }
    .instrument(span)
    .await
}

/// An error and everything it comes from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Many errors repeat their source in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// Answers for a handler that panicked; the panic itself is logged by the panic hook.
#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer asks for")]
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = text.unwrap_or("of unknown kind"), "a handler panicked");
    Problem::internal().into_response()
}

/// A request id from outside is kept only if it can be shown anywhere.
pub(crate) async fn screen_request_id(mut request: Request, next: Next) -> Response {
    let acceptable = |id: &HeaderValue| {
        (1..=64).contains(&id.len())
            && id
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    if !request.headers().get(REQUEST_ID).is_some_and(acceptable) {
        request.headers_mut().remove(REQUEST_ID);
    }
    next.run(request).await
}
