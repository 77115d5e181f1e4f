//! HTTP server with bounds on what a client can occupy.
//!
//! A connection without a request in progress is closed after a while. That covers a client that
//! sends nothing, half a head, or no further request; the timeouts of `hyper` start only when it
//! knows the version of HTTP. A request is in progress from the end of its head to its answer, for
//! which it has a deadline, and then while a piece of the answer's body is produced or sent.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
};
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

/// Limits of [`serve`].
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections at a time. Further ones wait in the operating system's queue until one is
    /// closed; the one that has been idle for longest is closed for them.
    pub max_connections: u32,
    /// How long a connection has to be idle before it is closed for a waiting one.
    pub evict_after: Duration,
    /// Requests at a time on one connection of HTTP/2.
    pub max_streams: u32,
    /// Length of a request's head, in bytes.
    pub max_head: usize,
    /// How long a connection may be without a request in progress.
    pub idle_timeout: Duration,
    /// The same once the server stops, for the end of an answer that is being sent. Also how long a
    /// client has to close a connection that the server has ended.
    pub drain_timeout: Duration,
    /// How long requests in progress may take once the server stops.
    pub shutdown_grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            evict_after: Duration::from_secs(1),
            // The lowest number that RFC 9113, 5.1.2, recommends.
            max_streams: 100,
            max_head: 64 * 1024,
            idle_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(25),
        }
    }
}

/// Serves HTTP/1 and HTTP/2 until `stop` completes. Then accepts no more connections, finishes the
/// requests in progress, and returns when the last connection is closed or
/// [`shutdown_grace`](ServerLimits::shutdown_grace) is over.
///
/// In contrast to `axum::serve` it closes idle connections, limits their number, and lets a client
/// read the answer to a request whose body was not read to the end.
///
/// ```no_run
/// # async fn example(app: axum::Router) -> std::io::Result<()> {
/// use tenantry_axum::{ServerLimits, serve};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// serve(listener, app, ServerLimits::default(), async { drop(tokio::signal::ctrl_c().await) }).await;
/// # Ok(())
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ServerLimits,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.max_connections as usize));
    let wanted = Arc::new(Notify::new());
    let (stopping, stopped) = watch::channel(false);
    tokio::pin!(stop);
    loop {
        let (slot, stream, peer) = select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots, &wanted) => accepted,
        };
        let connection = serve_connection(
            (stream, peer),
            app.clone(),
            limits,
            Arc::clone(&wanted),
            stopped.clone(),
        );
        tokio::spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    drop(listener);
    stopping.send_replace(true);
    // All slots are free when the last connection is closed.
    if timeout(limits.shutdown_grace, slots.acquire_many(limits.max_connections)).await.is_err() {
        warn!("requests still in progress after {} s are aborted", limits.shutdown_grace.as_secs());
    }
}

/// Waits for a free slot and accepts a connection.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    wanted: &Notify,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    if slots.available_permits() == 0 {
        wanted.notify_one();
    }
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (slot, stream, peer),
            // The client has disconnected.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                // Most often there are no more file descriptors, until some are closed.
                error!(%error, "cannot accept connections; retrying in a second");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one connection to its end, and closes it.
async fn serve_connection(
    (stream, peer): (TcpStream, SocketAddr),
    app: Router,
    limits: ServerLimits,
    wanted: Arc<Notify>,
    stopped: watch::Receiver<bool>,
) {
    // hyper writes an answer in one piece.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let (stream, returned) = ReturningStream::new(stream);
    if serve_requests((stream, peer), app, limits, &wanted, stopped).await {
        returned.close(limits.drain_timeout).await;
    }
}

/// Returns whether the connection has ended after an answer, which the client has still to read. An
/// idle one is closed at once, as its slot may be wanted.
async fn serve_requests(
    (stream, peer): (ReturningStream, SocketAddr),
    app: Router,
    limits: ServerLimits,
    wanted: &Notify,
    mut stopped: watch::Receiver<bool>,
) -> bool {
    let activity = Arc::new(ConnectionActivity::new());
    let (app, requests) = (TowerToHyperService::new(app), Arc::clone(&activity));
    let counted = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
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
        () = activity.wait_idle(limits.idle_timeout) => debug!("closing an idle connection"),
        () = evicted(&activity, limits.evict_after, wanted) => {
            debug!("closing an idle connection for a new one");
        }
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    select! {
        ended = &mut connection => {
            log(ended);
            true
        }
        () = activity.wait_idle(limits.drain_timeout) => false,
    }
}

/// Waits until a slot is wanted while this connection has been idle for `time`. `Notify` wakes the
/// connection that has waited for longest.
async fn evicted(activity: &ConnectionActivity, time: Duration, wanted: &Notify) {
    loop {
        activity.wait_idle(time).await;
        wanted.notified().await;
        if activity.idle() >= time {
            return;
        }
        // No longer idle: wakes the next one.
        wanted.notify_one();
    }
}

fn builder(limits: &ServerLimits) -> Builder<TokioExecutor> {
    // A longer body is rejected, so a client needs no larger window.
    let body = u32::try_from(MAX_BODY).ok();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(limits.max_head);
    builder.http2().max_concurrent_streams(limits.max_streams).initial_stream_window_size(body);
    builder
}

/// Logs at level debug, as such errors are caused by clients and the network.
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
    /// More than any step takes.
    const LONG: Duration = Duration::from_secs(20);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// A server with one route, which answers after half a second.
    async fn start(limits: ServerLimits, stop: oneshot::Receiver<()>) -> TestServer {
        let slow = || async {
            sleep(Duration::from_millis(500)).await;
            "done"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(slow));
        let stop = async move { drop(stop.await) };
        TestServer(address, tokio::spawn(serve(listener, app, limits, stop)))
    }

    struct TestServer(std::net::SocketAddr, tokio::task::JoinHandle<()>);

    impl TestServer {
        /// The answer to these bytes, up to the end of the connection.
        async fn answer(&self, sent: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.0).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let mut answer = String::new();
            let read = timeout(LONG, stream.read_to_string(&mut answer)).await;
            read.expect("the connection is never closed").unwrap();
            answer
        }
    }

    #[tokio::test]
    async fn closes_idle_connections() {
        let (_stop, stopped) = oneshot::channel();
        let server =
            start(ServerLimits { idle_timeout: SHORT, ..ServerLimits::default() }, stopped).await;
        for sent in [&b""[..], b"P", b"GET / HTTP/1.1\r\nhost: loc", b"PRI * HTTP/2.0\r\n\r\nSM"] {
            assert_eq!(server.answer(sent).await, "", "{sent:?}");
        }
        // The request takes longer than the timeout.
        assert!(server.answer(REQUEST).await.ends_with("done"));
    }

    #[tokio::test]
    async fn shutdown_answers_whole_requests_and_ignores_half_ones() {
        let (stop, stopped) = oneshot::channel();
        let limits =
            ServerLimits { drain_timeout: SHORT, idle_timeout: LONG, ..ServerLimits::default() };
        let server = start(limits, stopped).await;
        let half = server.answer(b"GET / HTTP/1.1\r\nhost: loc");
        let stopping = async {
            // Until the requests have started.
            sleep(SHORT).await;
            stop.send(()).unwrap();
        };
        let (half, whole, ()) = tokio::join!(half, server.answer(REQUEST), stopping);
        assert_eq!(half, "");
        assert!(whole.ends_with("done"), "{whole}");
        timeout(LONG, server.1).await.expect("the server never ends").unwrap();
    }

    #[tokio::test]
    async fn closes_idle_connections_for_waiting_ones_and_keeps_busy_ones() {
        let (_stop, stopped) = oneshot::channel();
        let limits = ServerLimits {
            max_connections: 3,
            idle_timeout: LONG * 10,
            evict_after: SHORT,
            drain_timeout: SHORT,
            ..ServerLimits::default()
        };
        let server = start(limits, stopped).await;
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(TcpStream::connect(server.0).await.unwrap());
        }
        // A request takes longer than `evict_after`.
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let (one, other) = tokio::join!(server.answer(request), server.answer(request));
        assert!(one.ends_with("done") && other.ends_with("done"), "{one} {other}");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let (_stop, stopped) = oneshot::channel();
        let limits =
            ServerLimits { max_connections: 1, idle_timeout: SHORT, ..ServerLimits::default() };
        let server = start(limits, stopped).await;
        let (one, other) = tokio::join!(server.answer(REQUEST), server.answer(REQUEST));
        assert!(one.ends_with("done") && other.ends_with("done"), "{one} {other}");
    }
}
