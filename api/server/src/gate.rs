//! Admission of requests: a limit on their number, and checks that need no handler.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Bytes, HttpBody},
    extract::{MatchedPath, Request},
};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::{health, problem::Problem, target::Target};

/// Limit for `/health`, which is counted separately, so that it answers under overload.
const MAX_HEALTH_REQUESTS: usize = 100;

/// Interval of the warning that requests are rejected.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Limit on the requests in progress, shared by all connections.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    max_requests: usize,
    requests: Arc<Semaphore>,
    health: Arc<Semaphore>,
    opened: Instant,
    /// Milliseconds after `opened` from which the warning is logged again.
    warn_from: AtomicU64,
}

/// Permit of a request, held until its whole answer has been passed to the connection.
pub(crate) type Permit = OwnedSemaphorePermit;

impl Gate {
    pub(crate) fn new(max_requests: usize) -> Self {
        let max_requests = max_requests.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            max_requests,
            requests: Arc::new(Semaphore::new(max_requests)),
            health: Arc::new(Semaphore::new(MAX_HEALTH_REQUESTS)),
            opened: Instant::now(),
            warn_from: AtomicU64::new(0),
        }))
    }

    /// A permit for the request, unless it is malformed or too many requests are in progress.
    pub(crate) fn admit(&self, request: &Request) -> Result<Permit, Problem> {
        Target::from(request).named()?;
        let route = request.extensions().get::<MatchedPath>();
        let health = route.is_some_and(|route| route.as_str() == health::PATH);
        let requests = if health { &self.0.health } else { &self.0.requests };
        Arc::clone(requests).try_acquire_owned().map_err(|_| {
            self.warn();
            Problem::busy("overloaded", "Too many requests in progress")
        })
    }

    /// Logs that requests are rejected, at most once per [`WARN_EVERY`].
    fn warn(&self) {
        let Inner { max_requests, opened, warn_from, .. } = &*self.0;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = opened.elapsed();
        let from = warn_from.load(Ordering::Relaxed);
        let until = millis(now + WARN_EVERY);
        if millis(now) >= from
            && warn_from.compare_exchange(from, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            warn!(max_requests, "rejecting requests with 503: max_requests are in progress");
        }
    }
}

/// An answer's body, with the permit of its request.
pub(crate) struct PermitBody<B> {
    body: B,
    _permit: Permit,
}

impl<B> PermitBody<B> {
    pub(crate) fn new(body: B, permit: Permit) -> Self {
        Self { body, _permit: permit }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for PermitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, to_bytes},
        http::StatusCode,
        routing::get,
    };
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use tokio::sync::Notify;
    use tower::layer::layer_fn;

    use super::*;
    use crate::{api_error::Cause, security_headers::SecurityHeaders, trace::Trace};

    #[tokio::test]
    async fn a_request_holds_its_permit_until_its_answer_is_read() {
        let finish = Arc::new(Notify::new());
        let waiting = Arc::clone(&finish);
        let slow = move || async move {
            waiting.notified().await;
            "done"
        };
        let gate = Gate::new(2);
        let layer = layer_fn(move |inner| Trace {
            inner,
            deadline: Duration::from_secs(20),
            gate: gate.clone(),
            headers: SecurityHeaders::default(),
        });
        let app =
            Router::new().route("/", get(slow)).route(health::PATH, get(|| async {})).layer(layer);
        let app = TowerToHyperService::new(app);
        let ask = |path: &str| {
            let request = Request::get(path).header("host", "localhost").body(Body::empty());
            app.call(request.unwrap())
        };
        let [one, two] = [tokio::spawn(ask("/")), tokio::spawn(ask("/"))];
        tokio::task::yield_now().await;
        for path in ["/", "/nowhere"] {
            let refused = ask(path).await.unwrap();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(refused.headers().contains_key("retry-after"), "{path}");
            // A cause would be logged as an error.
            assert!(refused.extensions().get::<Cause>().is_none(), "{path}");
        }
        assert_eq!(ask(health::PATH).await.unwrap().status(), StatusCode::OK);

        one.abort();
        assert!(one.await.is_err());
        finish.notify_one();
        let two = two.await.unwrap().unwrap();
        finish.notify_one();
        let three = ask("/").await.unwrap();
        // Both answers are ready, neither has been read.
        assert_eq!(ask("/").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        for answer in [two, three] {
            assert_eq!(to_bytes(answer.into_body(), 100).await.unwrap(), "done");
        }
        finish.notify_one();
        assert_eq!(ask("/").await.unwrap().status(), StatusCode::OK);
    }
}
