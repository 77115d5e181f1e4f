//! The sessions of the server, which clients share.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{
    Mode,
    frames::Frames,
    prepared::{Cache, Texts},
};

/// Process id and secret of a session, as in BackendKeyData.
pub type Key = [u8; 8];

/// A session of the server.
pub struct Server {
    pub frames: Frames<UnixStream>,
    pub number: usize,
    pub key: Key,
    pub cache: Cache,
    /// Its place in the pool.
    _place: OwnedSemaphorePermit,
}

/// A session that a client uses.
pub struct Attached {
    pub server: Server,
    _turn: OwnedSemaphorePermit,
}

/// The sessions of one user in one database.
pub struct Pool {
    mode: Mode,
    socket: PathBuf,
    /// Free sessions; the last used one at the end.
    idle: Mutex<VecDeque<Server>>,
    /// Sessions that may be opened, and that may be in use.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    opened: AtomicUsize,
    pub texts: Texts,
}

impl Pool {
    pub fn new(mode: Mode, socket: PathBuf, sessions: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(sessions));
        Self {
            mode,
            socket,
            idle: Mutex::default(),
            places: semaphore(),
            turns: semaphore(),
            opened: AtomicUsize::new(0),
            texts: Texts::default(),
        }
    }

    /// A client has connected: returns the greeting of a session. In transaction mode, the pool
    /// grows with the number of clients.
    pub async fn greeting(&self, startup: &[u8]) -> io::Result<Vec<u8>> {
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (server, greeting) = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) if self.mode != Mode::Session => self.open(startup, place).await?,
            _ => return Ok(self.open(startup, place).await?.1),
        };
        self.idle.lock().unwrap().push_back(server);
        Ok(greeting)
    }

    /// A session for a client, whose last one was `last`: another one, unless all others are in use.
    /// Waits until one is free. Safe to cancel.
    pub async fn attach(&self, startup: &[u8], last: Option<usize>) -> io::Result<Attached> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.unwrap();
        loop {
            if let Some(server) = self.free(last, false) {
                return Ok(Attached { server, _turn: turn });
            }
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                let server = self.open(startup, place).await?.0;
                return Ok(Attached { server, _turn: turn });
            }
            if let Some(server) = self.free(last, true) {
                return Ok(Attached { server, _turn: turn });
            }
            // One was closed by the server, and its place is free.
            tokio::task::yield_now().await;
        }
    }

    /// Returns a session whose transaction has ended.
    pub fn release(&self, attached: Attached) {
        self.idle.lock().unwrap().push_back(attached.server);
    }

    /// A free session that the server has not closed.
    fn free(&self, last: Option<usize>, repeat: bool) -> Option<Server> {
        let mut idle = self.idle.lock().unwrap();
        // Nothing is sent to a free session but its end.
        idle.retain(|server| {
            let read = server.frames.stream().try_read(&mut [0]);
            matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        if self.mode == Mode::Transaction {
            return idle.pop_back();
        }
        let other = idle.iter().position(|server| repeat || Some(server.number) != last)?;
        idle.remove(other)
    }

    async fn open(
        &self,
        startup: &[u8],
        place: OwnedSemaphorePermit,
    ) -> io::Result<(Server, Vec<u8>)> {
        let mut frames = Frames::new(UnixStream::connect(&self.socket).await?);
        frames.send(startup).await?;
        let (mut greeting, mut key) = (Vec::new(), Key::default());
        loop {
            let message = frames.next().await?;
            match message[0] {
                b'E' => return Err(io::Error::other(Refused(message))),
                // The pooler sends its own.
                b'K' => key = message[5..13].try_into().unwrap(),
                b'Z' => break,
                _ => greeting.extend(message),
            }
        }
        let limit = if let Mode::Prepared { limit } = self.mode { limit } else { 0 };
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let server = Server { frames, number, key, cache: Cache::new(limit), _place: place };
        Ok((server, greeting))
    }
}

/// The server has refused a session.
#[derive(Debug)]
pub struct Refused(pub Vec<u8>);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl std::error::Error for Refused {}
