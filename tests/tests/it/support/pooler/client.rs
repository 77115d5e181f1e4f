//! One client of the pooler.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tokio::net::TcpStream;

use super::{
    Mode, Shared,
    frames::{Frames, fatal, framed},
    pipeline::{Change, Pipeline},
    prepared::{Cache, Names, Translation},
    servers::{Attached, Key, Pool, Refused},
};

/// The session of the server that a client uses now, for its cancel requests.
pub type InUse = Arc<Mutex<Option<Key>>>;

pub struct Client {
    frames: Frames<TcpStream>,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    startup: Vec<u8>,
    attached: Option<Attached>,
    in_use: InUse,
    /// Number of the session that it has used last.
    last: Option<usize>,
    names: Names,
    pipeline: Pipeline,
}

impl Client {
    pub fn new(
        frames: Frames<TcpStream>,
        shared: Arc<Shared>,
        pool: Arc<Pool>,
        startup: Vec<u8>,
        in_use: InUse,
    ) -> Self {
        Self {
            frames,
            shared,
            pool,
            startup,
            attached: None,
            in_use,
            last: None,
            names: Names::default(),
            pipeline: Pipeline::default(),
        }
    }

    /// Serves the client until one side closes its connection. A session with an open transaction is
    /// closed then.
    pub async fn serve(mut self) -> io::Result<()> {
        loop {
            while !self.pipeline.holds_back()
                && let Some(request) = self.frames.take()
            {
                if request[0] == b'X' {
                    return Ok(());
                }
                if self.attached.is_none() && !self.attach().await? {
                    return Ok(());
                }
                self.request(&request).await?;
            }
            let server = async {
                match &mut self.attached {
                    Some(attached) => attached.server.frames.fill().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                more = self.frames.fill() => if !more? { return Ok(()) },
                more = server => if !matches!(more, Ok(true)) {
                    return self.frames.send(&fatal("08P01", "server conn crashed?")).await;
                }
            }
            self.answers().await?;
        }
    }

    /// Waits for a session, and returns whether the client waits as long.
    async fn attach(&mut self) -> io::Result<bool> {
        let attached = tokio::select! {
            attached = self.pool.attach(&self.startup, self.last) => attached,
            () = self.frames.closed() => return Ok(false),
        };
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                self.frames.send(&refusal(error)?).await?;
                return Ok(false);
            }
        };
        let number = attached.server.number;
        if self.last.replace(number).is_some_and(|last| last != number) {
            self.shared.switches.fetch_add(1, Ordering::Relaxed);
        }
        *self.in_use.lock().unwrap() = Some(attached.server.key);
        self.attached = Some(attached);
        Ok(true)
    }

    async fn request(&mut self, request: &[u8]) -> io::Result<()> {
        let server = &mut self.attached.as_mut().unwrap().server;
        if self.pipeline.skips(request[0]) {
            return Ok(());
        }
        let Mode::Prepared { .. } = self.shared.mode else {
            self.pipeline.passed(request[0], Change::None);
            return server.frames.send(request).await;
        };
        let mut translation = Translation {
            texts: &self.pool.texts,
            names: &mut self.names,
            cache: &mut server.cache,
            pipeline: &mut self.pipeline,
            to_server: Vec::new(),
            prepared_again: 0,
        };
        translation.request(request);
        self.shared.prepared_again.fetch_add(translation.prepared_again, Ordering::Relaxed);
        server.frames.send(&translation.to_server).await?;
        let mut made = Vec::new();
        self.pipeline.made(&mut made);
        self.frames.send(&made).await
    }

    /// Passes on what the server has answered.
    async fn answers(&mut self) -> io::Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let mut to_client = Vec::new();
        while let Some(answer) = attached.server.frames.take() {
            let cache: &mut Cache = &mut attached.server.cache;
            let idle = self.pipeline.answered(&answer, &mut self.names, cache, &mut to_client);
            if idle && self.shared.mode.multiplexes() {
                *self.in_use.lock().unwrap() = None;
                self.pool.release(self.attached.take().unwrap());
                break;
            }
        }
        // After the release: the next request of the client cannot come before it.
        self.frames.send(&to_client).await
    }
}

/// The message for a client whose session the server has refused.
pub fn refusal(error: io::Error) -> io::Result<Vec<u8>> {
    match error.downcast::<Refused>() {
        Ok(Refused(message)) => Ok(message),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(error),
        Err(error) => Ok(fatal("08P01", &format!("server cannot be reached: {error}"))),
    }
}

/// AuthenticationOk and so on, with the key of this client.
pub fn welcome(mut greeting: Vec<u8>, key: Key) -> Vec<u8> {
    greeting.extend(framed(b'K', &key));
    greeting.extend(framed(b'Z', b"I"));
    greeting
}
