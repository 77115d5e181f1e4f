//! A proxy between a client and the test server that can end a session at a chosen message, or
//! swallow what is sent on it, as a network does that has gone.
//!
//! It understands as much of the frontend/backend protocol (PostgreSQL manual, chapter 55) as it
//! takes to see where a message begins and which backend answers.

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

/// More requests than a test sends.
const ENDLESS: i64 = i64::MAX;

/// Between a client and the server. Ends with the test's runtime.
pub struct TcpProxy {
    port: u16,
    /// Requests left until the session that sends one is ended; negative when none is to be.
    countdown: Arc<AtomicI64>,
    frozen: Arc<Frozen>,
    target: Arc<Mutex<PathBuf>>,
}

/// What the network swallows.
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

    /// One to a server of the test's own.
    pub async fn before(server: &Server) -> Self {
        Self::open(socket(server)).await
    }

    /// From now on connects to another server, as an address does that a new primary has taken
    /// over. Sessions that are open go on.
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
                    // A session that was ended ends with an error here; that is the point.
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

    /// Freezes the sessions that have sent LISTEN until now.
    pub fn freeze_listeners(&self) {
        self.freeze(self.frozen.listening.lock().unwrap().clone());
    }

    /// Whether notifications are swallowed from now on.
    pub fn keep_notifications(&self, keep: bool) {
        self.frozen.notifications.store(keep, Ordering::SeqCst);
    }

    /// Whether new connections are accepted and then hear nothing.
    pub fn freeze_new(&self, freeze: bool) {
        self.frozen.new.store(freeze, Ordering::SeqCst);
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// From now on let through `requests` requests of whatever session, and have the server
    /// terminate the backend of the one that sends the next, before it gets it.
    pub fn terminate_after(&self, requests: i64) {
        self.countdown.store(requests, Ordering::SeqCst);
    }

    /// From now on counts the requests of all sessions but those that listen or send heartbeats:
    /// these ask from time to time, whatever a test does.
    pub fn count(&self) {
        self.terminate_after(ENDLESS);
    }

    /// Stops counting; how many requests there were.
    pub fn counted(&self) -> i64 {
        ENDLESS - self.countdown.swap(-1, Ordering::SeqCst)
    }

    /// Stops counting; tells whether a backend was terminated.
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
    // BackendKeyData comes before the server is ready for anything that could be counted.
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
            // The server does not hear that the client has gone, either.
            return pending().await;
        }
        let request = request?;
        let text = String::from_utf8_lossy(&request);
        if request[0] == b'Q' && request[5..].starts_with(b"LISTEN") {
            frozen.listening.lock().unwrap().insert(pid);
            background = true;
        }
        background |= request[0] == b'P' && text.contains("/* heartbeat */");
        // Query and Sync: with these the client waits for an answer.
        let counts = matches!(request[0], b'Q' | b'S') && countdown.load(Ordering::SeqCst) >= 0;
        if counts && !background && countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
            admin(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
            answers.await??;
            return Ok(());
        }
        to_server.write_all(&request).await?;
    }
}

/// One whole message.
async fn message(from: &mut (impl AsyncReadExt + Unpin), typed: bool) -> std::io::Result<Vec<u8>> {
    let head = if typed { 5 } else { 4 };
    let mut bytes = vec![0; head];
    from.read_exact(&mut bytes).await?;
    let length = u32::from_be_bytes(bytes[head - 4..].try_into().unwrap()) as usize;
    bytes.resize(head + length - 4, 0);
    from.read_exact(&mut bytes[head..]).await?;
    Ok(bytes)
}
