//! One span per request, one line per answer, and the cause of a 5xx logged once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    http::HeaderValue,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use tracing::{Instrument, error, error_span, field::Empty, info};

use crate::{
    DEADLINE,
    problem::{Cause, Problem},
};

/// The header by which a request can be found in the log.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Runs a request in its span and under its deadline, and logs how it went.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    trace_within(DEADLINE, request, next).await
}

async fn trace_within(deadline: Duration, request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    // Not that every request is an error: a span is left out where its level is not logged, and
    // the line of an error needs it.
    let span = error_span!(
        "request",
        id,
        method = %request.method(),
        path = request.uri().path(),
        route,
        tenant = Empty,
    );
    let start = Instant::now();
    async move {
        let response = match timeout(deadline, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let problem = Problem::busy("deadline", "Took too long");
                caused(problem, Fatal::Deadline(deadline))
            }
        };
        let (status, micros) = (response.status().as_u16(), start.elapsed().as_micros());
        if response.status().is_server_error() {
            let cause = response.extensions().get().map(|Cause(cause)| chain(cause.as_ref()));
            error!(status, micros, cause = %cause.unwrap_or_default(), "failed");
        } else {
            info!(status, micros, "answered");
        }
        response
    }
    .instrument(span)
    .await
}

/// Why a request came to no answer of its own.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("took longer than {0:?}")]
    Deadline(Duration),
    #[error("the handler panicked: {0}")]
    Panic(String),
}

fn caused(problem: Problem, cause: Fatal) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().insert(Cause(Arc::new(cause)));
    response
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

/// Answers for a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer asks for")]
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("of unknown kind").to_owned();
    caused(Problem::internal(), Fatal::Panic(text))
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

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use axum::{Router, body::Body, middleware::from_fn, routing::get};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn a_panic_and_a_deadline_are_logged_once_under_the_request() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let app = Router::new()
            .route("/panics", get(panics))
            .route("/waits", get(std::future::pending::<()>))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn(async |request, next| {
                trace_within(Duration::from_millis(50), request, next).await
            }));
        let app = TowerToHyperService::new(app);
        for (path, status, cause) in [
            ("/panics", 500, "the handler panicked: no guard"),
            ("/waits", 503, "took longer than 50ms"),
        ] {
            let request = Request::get(path).header(REQUEST_ID, "id-1").body(Body::empty());
            let answer = app.call(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), status);
            let said = std::mem::take(&mut *log.0.lock().unwrap());
            let said = String::from_utf8(said).unwrap();
            assert_eq!(said.lines().count(), 1, "{said}");
            for part in ["ERROR", "id=\"id-1\"", &format!("path=\"{path}\""), cause] {
                assert!(said.contains(part), "no {part} in {said}");
            }
        }
    }

    async fn panics() {
        panic!("no guard");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
