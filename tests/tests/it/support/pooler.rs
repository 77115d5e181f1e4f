//! Minimal pooler: accepts clients without the server, drops startup parameters
//! (`ignore_startup_parameters`), and shares sessions of the server between clients.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    time::sleep,
};

use super::{database::server, tcp_proxy::message};

/// When a client releases the session of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On disconnect.
    Session,
    /// After each transaction; the last used session is used next.
    Transaction,
    /// After each transaction; sessions are used in turn.
    InTurn,
}

/// Ends with the test's runtime.
pub struct Pooler {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mode,
    socket: PathBuf,
    /// Free sessions; the last used one at the end.
    idle: Mutex<VecDeque<UnixStream>>,
    /// Number of sessions; further clients wait with their first statement.
    room: Arc<Semaphore>,
    /// Whether new clients are refused.
    refuses: AtomicBool,
}

impl Pooler {
    pub async fn new(mode: Mode) -> Self {
        Self::with_room(mode, Semaphore::MAX_PERMITS).await
    }

    /// A pooler with this number of sessions.
    pub async fn with_room(mode: Mode, sessions: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = server().socket_dir().join(".s.PGSQL.5432");
        let (idle, refuses) = (Mutex::default(), AtomicBool::new(false));
        let room = Arc::new(Semaphore::new(sessions));
        let shared = Arc::new(Shared { mode, socket, idle, room, refuses });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                // A client that goes away ends with an error here.
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        Self { port, shared }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Refuses new clients, like a server without the database (3D000).
    pub fn refuse(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let startup = without_options(&message(&mut client, false).await?);
        if self.refuses.load(Ordering::SeqCst) {
            let refusal = b"SFATAL\0VFATAL\0C3D000\0Mdatabase does not exist\0\0";
            client.write_all(&framed(b'E', refusal)).await?;
            return Ok(());
        }
        let (session, greeting) = self.open(&startup).await?;
        client.write_all(&greeting).await?;
        // In session mode, it gets a session with its first statement.
        let mut attached = None;
        if self.mode != Mode::Session {
            self.idle.lock().unwrap().push_back(session);
        }
        loop {
            let request = message(&mut client, true).await?;
            if request[0] == b'X' {
                return Ok(());
            }
            let mut session = match attached.take() {
                Some(session) => session,
                None if self.mode == Mode::Session => {
                    let _room = self.room.acquire().await.unwrap();
                    let mut session = self.open(&startup).await?.0;
                    session.write_all(&request).await?;
                    copy_bidirectional(&mut client, &mut session).await?;
                    return Ok(());
                }
                // All sessions may be in use.
                None => loop {
                    let idle = match self.mode {
                        Mode::InTurn => self.idle.lock().unwrap().pop_front(),
                        _ => self.idle.lock().unwrap().pop_back(),
                    };
                    match idle {
                        Some(session) => break session,
                        None => sleep(Duration::from_millis(5)).await,
                    }
                },
            };
            session.write_all(&request).await?;
            if matches!(request[0], b'Q' | b'S') {
                let (answer, in_transaction) = until_ready(&mut session).await?;
                client.write_all(&answer).await?;
                if !in_transaction {
                    self.idle.lock().unwrap().push_back(session);
                    continue;
                }
            }
            attached = Some(session);
        }
    }

    /// A session of the server, and its first messages.
    async fn open(&self, startup: &[u8]) -> std::io::Result<(UnixStream, Vec<u8>)> {
        let mut session = UnixStream::connect(&self.socket).await?;
        session.write_all(startup).await?;
        let greeting = until_ready(&mut session).await?.0;
        Ok((session, greeting))
    }
}

/// All messages up to ReadyForQuery, and whether a transaction is open then.
async fn until_ready(session: &mut UnixStream) -> std::io::Result<(Vec<u8>, bool)> {
    let mut answer = Vec::new();
    loop {
        let next = message(session, true).await?;
        answer.extend(&next);
        if next[0] == b'Z' {
            return Ok((answer, next[5] != b'I'));
        }
    }
}

/// A start-up message without the parameter `options`.
fn without_options(startup: &[u8]) -> Vec<u8> {
    let text = &startup[8..];
    let parts: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    let mut body = startup[4..8].to_vec();
    for pair in parts.chunks(2).filter(|pair| pair.len() == 2 && !pair[0].is_empty()) {
        if pair[0] != b"options" {
            for part in pair {
                body.extend(*part);
                body.push(0);
            }
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap();
    [length.to_be_bytes().as_slice(), &body].concat()
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}
