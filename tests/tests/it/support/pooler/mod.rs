//! Pooler that shares sessions of the server between clients, accepts clients without the server, and
//! drops startup parameters (`ignore_startup_parameters`).
//!
//! In transaction mode it is the worst case: a client gets another session after every transaction,
//! also between pipelined ones, whenever another one is free. With [`Mode::Prepared`] it carries
//! prepared statements over, as PgBouncer does since 1.21.

mod client;
mod frames;
mod pipeline;
mod prepared;
mod raw;
mod servers;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use self::{
    client::{Client, InUse, refusal, welcome},
    frames::{CANCEL_REQUEST, Frames, GSSENC_REQUEST, SSL_REQUEST, without_options},
    servers::{Key, Pool},
};
use super::database::server;

/// When a client releases the session of the server, and which one it gets next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On disconnect.
    Session,
    /// After each transaction; the last used session is used next.
    Transaction,
    /// After each transaction; sessions are used in turn.
    InTurn,
    /// After each transaction; sessions are used in turn, and statements that a client has prepared
    /// under a name are prepared where it executes them. A session keeps `limit` statements.
    Prepared { limit: usize },
}

impl Mode {
    fn multiplexes(self) -> bool {
        self != Self::Session
    }
}

/// Ends with the test's runtime.
pub struct Pooler {
    port: u16,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

pub struct Shared {
    mode: Mode,
    socket: PathBuf,
    sessions: usize,
    /// By user and database.
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    clients: Mutex<HashMap<Key, InUse>>,
    /// Whether new clients are refused.
    refuses: AtomicBool,
    number: AtomicUsize,
    switches: AtomicUsize,
    prepared_again: AtomicUsize,
}

impl Pooler {
    pub async fn new(mode: Mode) -> Self {
        Self::with_room(mode, Semaphore::MAX_PERMITS).await
    }

    /// A pooler with this number of sessions for each user in each database; further clients wait
    /// with their first statement.
    pub async fn with_room(mode: Mode, sessions: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            mode,
            socket: server().socket_dir().join(".s.PGSQL.5432"),
            sessions,
            pools: Mutex::default(),
            clients: Mutex::default(),
            refuses: AtomicBool::new(false),
            number: AtomicUsize::new(1),
            switches: AtomicUsize::new(0),
            prepared_again: AtomicUsize::new(0),
        });
        let accepting = Mutex::new(Some(tokio::spawn(accept(listener, Arc::clone(&shared)))));
        Self { port, shared, accepting }
    }

    pub fn url(&self, database: &str) -> String {
        self.url_of("postgres", database)
    }

    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Refuses new clients, like a server without the database (3D000).
    pub fn refuse(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
    }

    /// Closes all connections and listens no more, as if it were killed.
    pub async fn kill(&self) {
        let accepting = self.accepting.lock().unwrap().take().unwrap();
        accepting.abort();
        let _ = accepting.await;
        self.shared.pools.lock().unwrap().clear();
        self.shared.clients.lock().unwrap().clear();
    }

    /// Listens again after [`Pooler::kill`].
    pub async fn restart(&self) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let listener = TcpListener::bind(address).await.unwrap();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
        *self.accepting.lock().unwrap() = Some(accepting);
    }

    /// How often a client got another session than before.
    pub fn switches(&self) -> usize {
        self.shared.switches.load(Ordering::Relaxed)
    }

    /// How many statements of clients were prepared in a further session, or again after an eviction.
    pub fn prepared_again(&self) -> usize {
        self.shared.prepared_again.load(Ordering::Relaxed)
    }
}

/// Serves clients, each in a task that ends with this one.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // A client that goes away ends with an error here.
        clients.spawn(async move { shared.serve(client).await });
        while clients.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut frames = Frames::new(client);
        let startup = loop {
            match frames.startup().await? {
                (SSL_REQUEST | GSSENC_REQUEST, _) => frames.send(b"N").await?,
                (CANCEL_REQUEST, request) => return self.cancel(request).await,
                (_, startup) => break startup,
            }
        };
        if self.refuses.load(Ordering::SeqCst) {
            let refusal = frames::fatal("3D000", "database does not exist");
            return frames.send(&refusal).await;
        }
        let (startup, name) = without_options(&startup);
        let pool =
            Arc::clone(self.pools.lock().unwrap().entry(name).or_insert_with(|| {
                Arc::new(Pool::new(self.mode, self.socket.clone(), self.sessions))
            }));
        let greeting = match pool.greeting(&startup).await {
            Ok(greeting) => greeting,
            Err(error) => return frames.send(&refusal(error)?).await,
        };
        let number = self.number.fetch_add(1, Ordering::Relaxed) as u64;
        // A process id that no process has, and a secret that is the same each time.
        let key = ((number << 32) | 0x7e57).to_be_bytes();
        let in_use = InUse::default();
        self.clients.lock().unwrap().insert(key, Arc::clone(&in_use));
        frames.send(&welcome(greeting, key)).await?;
        let served = Client::new(frames, Arc::clone(&self), pool, startup, in_use).serve().await;
        self.clients.lock().unwrap().remove(&key);
        served
    }

    /// Cancels the statement of a client in the session that it uses.
    async fn cancel(&self, mut request: Vec<u8>) -> io::Result<()> {
        let in_use = self.clients.lock().unwrap().get(&request[8..16]).cloned();
        let Some(key) = in_use.and_then(|in_use| *in_use.lock().unwrap()) else { return Ok(()) };
        request[8..16].copy_from_slice(&key);
        let mut server = Frames::new(UnixStream::connect(&self.socket).await?);
        server.send(&request).await?;
        server.closed().await;
        Ok(())
    }
}
