//! Activity of a connection.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::sleep;

/// Number of requests in progress on one connection, and when the last one ended. Waiters are not
/// woken for a change: they check it when the connection could have been idle for long enough.
pub(super) struct ConnectionActivity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// Microseconds after the opening.
    ended: AtomicU64,
}

/// Counts as a request in progress until it is dropped.
pub(super) struct InFlightGuard(Arc<ConnectionActivity>);

/// An answer's body. It counts as in progress while a piece of it is produced, not while a piece
/// waits for the client.
pub(super) struct TrackedBody {
    body: Body,
    activity: Arc<ConnectionActivity>,
    in_flight: Option<InFlightGuard>,
}

impl ConnectionActivity {
    pub(super) fn new() -> Self {
        let (in_flight, ended) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { opened: Instant::now(), in_flight, ended }
    }

    /// Waits until no request has been in progress for `time`.
    pub(super) async fn wait_idle(&self, time: Duration) {
        let mut rest = time;
        while !rest.is_zero() {
            sleep(rest).await;
            rest = time.saturating_sub(self.idle());
        }
    }

    /// How long no request has been in progress.
    pub(super) fn idle(&self) -> Duration {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        let ended = Duration::from_micros(self.ended.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(ended)
    }
}

impl InFlightGuard {
    pub(super) fn new(activity: &Arc<ConnectionActivity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let ConnectionActivity { opened, in_flight, ended } = &*self.0;
        let now = u64::try_from(opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        ended.store(now, Ordering::Relaxed);
        in_flight.fetch_sub(1, Ordering::Release);
    }
}

impl TrackedBody {
    /// The body of an answer to a request that is under way until its first piece is asked for.
    pub(super) fn new(body: Body, request: InFlightGuard) -> Self {
        Self { body, activity: Arc::clone(&request.0), in_flight: Some(request) }
    }
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let in_flight = self.in_flight.take().unwrap_or_else(|| InFlightGuard::new(&self.activity));
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            self.in_flight = Some(in_flight);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
