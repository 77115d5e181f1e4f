//! One span per request, one line per answer, and the cause of a 5xx logged once.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{Extensions, HeaderValue, StatusCode, Version, header::CONNECTION},
    response::{IntoResponse, Response},
};
use tenantry::explain;
use tokio::time::timeout;
use tower::Service;
use tracing::{Instrument, error, error_span, field::Empty, info};
use uuid::Uuid;

use crate::{
    api_error::{Cause, Refusal},
    gate::{Gate, PermitBody},
    problem::Problem,
    security_headers::SecurityHeaders,
    transfer,
};

/// Header with the id under which a request is logged.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// The id of a request, as an extension of it.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The id of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Option<String> {
        let Self(id) = extensions.get()?;
        id.to_str().ok().map(str::to_owned)
    }
}

/// Adds the request id, checks the [`Gate`], and runs the request in its span with a deadline, and
/// logs the result.
///
/// One service instead of several layers, as each layer clones the inner ones for every request:
/// tower-http's layers took 125,700 instructions per GET, this service 95,000.
#[derive(Clone)]
pub(crate) struct Trace<S> {
    pub(crate) inner: S,
    pub(crate) deadline: Duration,
    pub(crate) gate: Gate,
    pub(crate) headers: SecurityHeaders,
}

impl<S, B> Service<Request> for Trace<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let id = request_id(&request);
        request.extensions_mut().insert(RequestId(id.clone()));
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        // A span is disabled together with its level, and the log line of an error needs it.
        let span = error_span!(
            "request",
            id = %id.to_str().unwrap_or_default(),
            method = %request.method(),
            path = request.uri().path(),
            route = %route,
            tenant = Empty,
            principal = Empty,
        );
        let deadline = transfer::deadline(&request).unwrap_or(self.deadline);
        let (started, headers) = (Instant::now(), self.headers.clone());
        let keeps_alive = request.version() > Version::HTTP_11;
        let admitted = self.gate.admit(&request);
        let answer = admitted.map(|permit| (span.in_scope(|| self.inner.call(request)), permit));
        let answered = async move {
            let mut response = match answer {
                Ok((answer, permit)) => match timeout(deadline, answer).await {
                    Ok(Ok(response)) => {
                        response.map(|body| Body::new(PermitBody::new(body, permit)))
                    }
                    Err(_) => with_cause(
                        Problem::busy("deadline", "Took too long"),
                        AbortedRequest::Deadline(deadline),
                    ),
                },
                Err(refused) => refused.into_response(),
            };
            log(&response, started);
            response.headers_mut().insert(REQUEST_ID, id);
            headers.add_to(response.headers_mut());
            let is_body_left = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT]
                .contains(&response.status());
            if is_body_left && !keeps_alive {
                // The rest of the body must not be parsed as the next request.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        };
        Box::pin(answered.instrument(span))
    }
}

fn log(response: &Response, started: Instant) {
    let (status, micros) = (response.status().as_u16(), started.elapsed().as_micros());
    // A 5xx without a cause is overload, which is not an error of the server.
    if let Some(Cause(cause)) = response.extensions().get() {
        error!(status, micros, cause = %explain(cause.as_ref()), "failed");
    } else if let Some(Refusal { tenant, .. }) = response.extensions().get() {
        // Also if the answer does not say so.
        info!(status, micros, tenant_is = tenant.availability.as_str(), "answered");
    } else {
        info!(status, micros, "answered");
    }
}

/// The id sent by the client, if it is safe to log, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let acceptable = |id: &&HeaderValue| {
        (1..=64).contains(&id.len())
            && id
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let given = request.headers().get(REQUEST_ID).filter(acceptable).cloned();
    given.unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        // Digits and dashes.
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    })
}

/// Why a handler was aborted.
#[derive(Debug, thiserror::Error)]
enum AbortedRequest {
    #[error("took longer than {0:?}")]
    Deadline(Duration),
    #[error("the handler panicked: {0}")]
    Panic(String),
}

fn with_cause(problem: Problem, cause: AbortedRequest) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().insert(Cause(Arc::new(cause)));
    response
}

/// The answer if a handler panics.
#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer asks for")]
pub(crate) fn handle_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("of unknown kind").to_owned();
    with_cause(Problem::internal(), AbortedRequest::Panic(text))
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use axum::{Router, routing::get};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use tower::layer::layer_fn;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn logs_panics_and_deadlines_once_with_the_request_id() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone())
            .finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let gate = Gate::new(10);
        let app = Router::new()
            .route("/panics", get(panics))
            .route("/waits", get(std::future::pending::<()>))
            .layer(CatchPanicLayer::custom(handle_panic))
            .layer(layer_fn(move |inner| Trace {
                inner,
                deadline: Duration::from_millis(50),
                gate: gate.clone(),
                headers: SecurityHeaders::default(),
            }));
        let app = TowerToHyperService::new(app);
        for (path, status, cause) in [
            ("/panics", 500, "the handler panicked: no guard"),
            ("/waits", 503, "took longer than 50ms"),
        ] {
            let request = Request::get(path).header(REQUEST_ID, "id-1");
            let request = request.header("host", "localhost").body(Body::empty());
            let answer = app.call(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), status);
            let said = std::mem::take(&mut *log.0.lock().unwrap());
            let said = String::from_utf8(said).unwrap();
            assert_eq!(said.lines().count(), 1, "{said}");
            for part in ["ERROR", "id=id-1", &format!("path=\"{path}\""), cause] {
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
