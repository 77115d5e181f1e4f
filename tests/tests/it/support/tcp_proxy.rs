//! Proxy that can terminate a session at a chosen message, or discard its data like a lost network.
//!
//! Parses the frontend/backend protocol (PostgreSQL manual, chapter 55) only for the start of
//! messages and the PID of the backend.

use std::{
    collections::HashSet,
    future::pending,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use local_postgres::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

use super::database::{admin, server};

/// More requests than any test sends.
const ENDLESS: i64 = i64::MAX;

/// Proxy between a client and the server. Ends with the test's runtime.
pub struct TcpProxy {
    port: u16,
    /// Requests before a session is terminated; negative for none.
    countdown: Arc<AtomicI64>,
    frozen: Arc<Frozen>,
    target: Arc<Mutex<PathBuf>>,
}

/// Data that is discarded.
#[derive(Default)]
struct Frozen {
    /// The sessions of these server processes.
    pids: Mutex<HashSet<i32>>,
    new: AtomicBool,
    /// Notifications, on every session.
    notifications: AtomicBool,
    /// The sessions that have sent LISTEN.
    listening: Mutex<HashSet<i32>>,
}

impl Frozen {
    fn has(&self, pid: i32) -> bool {
        self.pids.lock().unwrap().contains(&pid)
    }
}

impl TcpProxy {
    pub async fn new() -> Self {
        Self::open(socket(server())).await
    }

    /// A proxy to another server.
    pub async fn before(server: &Server) -> Self {
        Self::open(socket(server)).await
    }

    /// Connects new sessions to another server, like an address after a failover.
    pub fn switch(&self, server: &Server) {
        *self.target.lock().unwrap() = socket(server);
    }

    /// A proxy that drops notifications, like a pooler that has assigned the session to another
    /// client.
    pub async fn without_notifications() -> Self {
        let wire = Self::open(socket(server())).await;
        wire.keep_notifications(true);
        wire
    }

    async fn open(target: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let countdown = Arc::new(AtomicI64::new(-1));
        let frozen = Arc::<Frozen>::default();
        let target = Arc::new(Mutex::new(target));
        let shared = (Arc::clone(&countdown), Arc::clone(&frozen), Arc::clone(&target));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (countdown, frozen, target) = shared.clone();
                tokio::spawn(async move {
                    // A terminated session ends with an error here.
                    let socket = target.lock().unwrap().clone();
                    let _ = serve(client, socket, countdown, frozen).await;
                });
            }
        });
        Self { port, countdown, frozen, target }
    }

    /// Discards all data in both directions on the sessions of these server processes, without
    /// closing the connections.
    pub fn freeze(&self, pids: impl IntoIterator<Item = i32>) {
        self.frozen.pids.lock().unwrap().extend(pids);
    }

    /// Freezes the sessions that have sent LISTEN.
    pub fn freeze_listeners(&self) {
        self.freeze(self.frozen.listening.lock().unwrap().clone());
    }

    /// Whether to discard notifications.
    pub fn keep_notifications(&self, keep: bool) {
        self.frozen.notifications.store(keep, Ordering::SeqCst);
    }

    /// Whether to accept new connections without responding.
    pub fn freeze_new(&self, freeze: bool) {
        self.frozen.new.store(freeze, Ordering::SeqCst);
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Passes `requests` requests, then terminates the backend of the session that sends the next one.
    pub fn terminate_after(&self, requests: i64) {
        self.countdown.store(requests, Ordering::SeqCst);
    }

    /// Counts requests, except those of sessions that listen or send heartbeats.
    pub fn count(&self) {
        self.terminate_after(ENDLESS);
    }

    /// Stops counting and returns the number of requests.
    pub fn counted(&self) -> i64 {
        ENDLESS - self.countdown.swap(-1, Ordering::SeqCst)
    }

    /// Stops counting and returns whether a backend was terminated.
    pub fn disarm(&self) -> bool {
        self.countdown.swap(-1, Ordering::SeqCst) < 0
    }
}

fn socket(server: &Server) -> PathBuf {
    server.socket_dir().join(".s.PGSQL.5432")
}

async fn serve(
    client: TcpStream,
    server: PathBuf,
    countdown: Arc<AtomicI64>,
    frozen: Arc<Frozen>,
) -> std::io::Result<()> {
    if frozen.new.load(Ordering::SeqCst) {
        return pending().await;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = UnixStream::connect(server).await?.into_split();
    // The first message has no type.
    let startup = message(&mut from_client, false).await?;
    to_server.write_all(&startup).await?;
    // BackendKeyData comes before the first request.
    let pid = loop {
        let answer = message(&mut from_server, true).await?;
        to_client.write_all(&answer).await?;
        if answer[0] == b'K' {
            break i32::from_be_bytes(answer[5..9].try_into().unwrap());
        }
    };
    let freezing = Arc::clone(&frozen);
    let answers = tokio::spawn(async move {
        loop {
            let Ok(answer) = message(&mut from_server, true).await else {
                return to_client.shutdown().await;
            };
            if freezing.has(pid) {
                return pending().await;
            }
            // NotificationResponse
            if answer[0] != b'A' || !freezing.notifications.load(Ordering::SeqCst) {
                to_client.write_all(&answer).await?;
            }
        }
    });
    let mut background = false;
    loop {
        let request = message(&mut from_client, true).await;
        if frozen.has(pid) {
            // The server does not notice the disconnect.
            return pending().await;
        }
        let request = request?;
        let text = String::from_utf8_lossy(&request);
        if request[0] == b'Q' && request[5..].starts_with(b"LISTEN") {
            frozen.listening.lock().unwrap().insert(pid);
            background = true;
        }
        background |= request[0] == b'P' && text.contains("/* heartbeat */");
        // Query, Sync and CopyDone: the client waits for an answer.
        let counts =
            matches!(request[0], b'Q' | b'S' | b'c') && countdown.load(Ordering::SeqCst) >= 0;
        if counts && !background && countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
            admin(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
            answers.await??;
            return Ok(());
        }
        to_server.write_all(&request).await?;
    }
}

/// Reads one whole message of the protocol.
pub(super) async fn message(
    from: &mut (impl AsyncReadExt + Unpin),
    typed: bool,
) -> std::io::Result<Vec<u8>> {
    let head = if typed { 5 } else { 4 };
    let mut bytes = vec![0; head];
    from.read_exact(&mut bytes).await?;
    let length = u32::from_be_bytes(bytes[head - 4..].try_into().unwrap()) as usize;
    bytes.resize(head + length - 4, 0);
    from.read_exact(&mut bytes[head..]).await?;
    Ok(bytes)
}
