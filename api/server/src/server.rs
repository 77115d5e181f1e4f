//! Accepts connections and serves them until it is told to stop.
//!
//! One rule bounds what a client can hold: a connection on which no request is under way for a
//! while is closed. It covers whoever sends nothing, half a head, or nothing more; the timeouts of
//! `hyper` do not begin before it knows the version of HTTP. A request is under way from the end
//! of its head to its answer, and has its own deadline; afterwards, as long as a piece of the answer
//! is made, or the client takes one.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tracing::{debug, error, warn};

use crate::{
    MAX_BODY,
    idle::{ConnectionActivity, InFlightGuard, TrackedBody},
    linger::ReturningStream,
};

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most at a time. Further ones wait in the queue of the operating system until a place is
    /// free, which the connection gives up that has been without a request for longest.
    pub(super) connections: u32,
    /// How long one has to be without a request before it gives up its place.
    pub(super) yields: Duration,
    /// Most requests at a time on one connection of HTTP/2.
    pub(super) streams: u32,
    /// Most bytes of a request's head.
    pub(super) head: usize,
    /// How long one may be open without a request under way.
    pub(super) quiet: Duration,
    /// The same once the server stops: for the end of an answer on its way out. Also how long a
    /// client has to close a connection that the server has ended.
    pub(super) linger: Duration,
    /// How long requests that are under way may take once the server stops.
    pub(super) grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            yields: Duration::from_secs(1),
            // As few as RFC 9113, 5.1.2, recommends.
            streams: 100,
            head: 64 * 1024,
            quiet: Duration::from_secs(30),
            linger: Duration::from_secs(1),
            grace: Duration::from_secs(25),
        }
    }
}

/// Serves until `stop`, then takes no more connections, finishes the requests that are under way
/// and returns when the last connection is closed or the grace is over.
pub(super) async fn accept(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let wanted = Arc::new(Notify::new());
    let (stopping, stopped) = watch::channel(false);
    tokio::pin!(stop);
    loop {
        let (place, stream) = select! {
            () = &mut stop => break,
            next = next(&listener, &places, &wanted) => next,
        };
        let connection =
            connection(stream, app.clone(), limits, Arc::clone(&wanted), stopped.clone());
        tokio::spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    stopping.send_replace(true);
    // All places are free again when nobody is left.
    if timeout(limits.grace, places.acquire_many(limits.connections)).await.is_err() {
        warn!("requests still under way after {} s are given up", limits.grace.as_secs());
    }
}

/// A place, and a connection to put there.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    wanted: &Notify,
) -> (Option<OwnedSemaphorePermit>, TcpStream) {
    if places.available_permits() == 0 {
        wanted.notify_one();
    }
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (place, stream),
            // The client was gone before it was its turn.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                // Mostly that there are no more file descriptors: some will be given back.
                error!(%error, "cannot accept connections; trying again in a second");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one connection to its end, and closes it.
async fn connection(
    stream: TcpStream,
    app: Router,
    limits: Limits,
    wanted: Arc<Notify>,
    stopped: watch::Receiver<bool>,
) {
    // Answers are written at once and in whole: there is nothing to gather.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no TCP_NODELAY");
    }
    let (stream, back) = ReturningStream::new(stream);
    if serve(stream, app, limits, &wanted, stopped).await {
        back.close(limits.linger).await;
    }
}

/// Whether the last answer has ended the connection, so that the client has still to read it. A
/// quiet one is closed at once, as its place may be wanted.
async fn serve(
    stream: ReturningStream,
    app: Router,
    limits: Limits,
    wanted: &Notify,
    mut stopped: watch::Receiver<bool>,
) -> bool {
    let activity = Arc::new(ConnectionActivity::new());
    let (app, requests) = (TowerToHyperService::new(app), Arc::clone(&activity));
    let counted = service_fn(move |request: Request<Incoming>| {
        let in_flight = InFlightGuard::new(&requests);
        let answer = app.call(request);
        async move { answer.await.map(|answer| answer.map(|body| TrackedBody::new(body, in_flight))) }
    });
    let builder = builder(&limits);
    let connection = builder.serve_connection(TokioIo::new(stream), counted);
    tokio::pin!(connection);
    select! {
        ended = &mut connection => {
            log(ended);
            return true;
        }
        () = activity.wait_idle(limits.quiet) => debug!("a connection without requests is closed"),
        () = yields(&activity, limits.yields, wanted) => debug!("a connection gives up its place"),
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    select! {
        ended = &mut connection => {
            log(ended);
            true
        }
        () = activity.wait_idle(limits.linger) => false,
    }
}

/// Waits until the place of this connection is wanted while it has been quiet for so long. Of all
/// that have been, the first one is notified.
async fn yields(activity: &ConnectionActivity, time: Duration, wanted: &Notify) {
    loop {
        activity.wait_idle(time).await;
        wanted.notified().await;
        if activity.idle() >= time {
            return;
        }
        // A request is under way again: the next one may yield.
        wanted.notify_one();
    }
}

/// What a connection may take of the memory.
fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    // A body that is longer is refused, so a client needs to send no more of it ahead.
    let body = u32::try_from(MAX_BODY).ok();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(limits.head);
    builder.http2().max_concurrent_streams(limits.streams).initial_stream_window_size(body);
    builder
}

/// What goes wrong on a connection is the client's or the network's doing.
fn log<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        debug!(%error, "a connection failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    /// More than anything here takes that is not wrong.
    const LONG: Duration = Duration::from_secs(20);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// A server with one route, which answers after half a second.
    async fn served(limits: Limits, stop: oneshot::Receiver<()>) -> Served {
        let slow = || async {
            sleep(Duration::from_millis(500)).await;
            "done"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(slow));
        let stop = async move { drop(stop.await) };
        Served(address, tokio::spawn(accept(listener, app, limits, stop)))
    }

    struct Served(std::net::SocketAddr, tokio::task::JoinHandle<()>);

    impl Served {
        /// What the server says on a connection that sends this and then waits for its end.
        async fn said(&self, sent: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.0).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut said = String::new();
            let read = timeout(LONG, stream.read_to_string(&mut said)).await;
            read.expect("the connection is never closed").unwrap();
            said
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_request_under_way_is_closed() {
        let (_stop, stopped) = oneshot::channel();
        let server = served(Limits { quiet: SHORT, ..Limits::default() }, stopped).await;
        for sent in [&b""[..], b"P", b"GET / HTTP/1.1\r\nhost: loc", b"PRI * HTTP/2.0\r\n\r\nSM"] {
            assert_eq!(server.said(sent).await, "", "{sent:?}");
        }
        // The request takes longer than that; only then is the connection quiet.
        assert!(server.said(REQUEST).await.ends_with("done"));
    }

    #[tokio::test]
    async fn half_a_request_does_not_hold_up_the_end_and_a_whole_one_is_answered() {
        let (stop, stopped) = oneshot::channel();
        let limits = Limits { linger: SHORT, quiet: LONG, ..Limits::default() };
        let server = served(limits, stopped).await;
        let half = server.said(b"GET / HTTP/1.1\r\nhost: loc");
        let stopping = async {
            // Until the requests have begun, which nothing tells.
            sleep(SHORT).await;
            stop.send(()).unwrap();
        };
        let (half, whole, ()) = tokio::join!(half, server.said(REQUEST), stopping);
        assert_eq!(half, "");
        assert!(whole.ends_with("done"), "{whole}");
        timeout(LONG, server.1).await.expect("the server never ends").unwrap();
    }

    #[tokio::test]
    async fn quiet_connections_give_up_their_places_and_busy_ones_do_not() {
        let (_stop, stopped) = oneshot::channel();
        let limits =
            Limits { connections: 3, quiet: LONG * 10, yields: SHORT, ..Limits::default() };
        let server = served(limits, stopped).await;
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(TcpStream::connect(server.0).await.unwrap());
        }
        // A request takes longer than an idle connection may be quiet for.
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let (one, other) = tokio::join!(server.said(request), server.said(request));
        assert!(one.ends_with("done") && other.ends_with("done"), "{one} {other}");
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_for_one() {
        let (_stop, stopped) = oneshot::channel();
        let limits = Limits { connections: 1, quiet: SHORT, ..Limits::default() };
        let server = served(limits, stopped).await;
        let (one, other) = tokio::join!(server.said(REQUEST), server.said(REQUEST));
        assert!(one.ends_with("done") && other.ends_with("done"), "{one} {other}");
    }
}
