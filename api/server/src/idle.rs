//! Whether something is done on a connection.

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

/// What is under way on one connection, and when the last of it ended. Nobody is woken for a
/// change: it is looked at when it might have been quiet for long enough.
pub(super) struct Activity {
    opened: Instant,
    under_way: AtomicUsize,
    /// Microseconds after the opening.
    ended: AtomicU64,
}

/// One thing that is under way, until it is dropped.
pub(super) struct UnderWay(Arc<Activity>);

/// An answer's body. While a piece of it is made it is under way, not while one waits for the
/// client to take it.
pub(super) struct Watched {
    body: Body,
    activity: Arc<Activity>,
    under_way: Option<UnderWay>,
}

impl Activity {
    pub(super) fn new() -> Self {
        let (under_way, ended) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { opened: Instant::now(), under_way, ended }
    }

    /// Waits until nothing has been under way for so long.
    pub(super) async fn quiet(&self, time: Duration) {
        let mut rest = time;
        while !rest.is_zero() {
            sleep(rest).await;
            rest = time.saturating_sub(self.idle());
        }
    }

    /// For how long nothing has been under way.
    pub(super) fn idle(&self) -> Duration {
        if self.under_way.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        let ended = Duration::from_micros(self.ended.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(ended)
    }
}

impl UnderWay {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Activity { opened, under_way, ended } = &*self.0;
        let now = u64::try_from(opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        ended.store(now, Ordering::Relaxed);
        under_way.fetch_sub(1, Ordering::Release);
    }
}

impl Watched {
    /// The body of an answer to a request that is under way until its first piece is asked for.
    pub(super) fn new(body: Body, request: UnderWay) -> Self {
        Self { body, activity: Arc::clone(&request.0), under_way: Some(request) }
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let under_way = self.under_way.take().unwrap_or_else(|| UnderWay::new(&self.activity));
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            self.under_way = Some(under_way);
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
