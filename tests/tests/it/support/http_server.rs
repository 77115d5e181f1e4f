//! A running `tenantry serve`.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::process::program_on;

/// The operator's token of the servers that [`HttpServer::start`] starts.
pub const TOKEN: &str = "the-operator-of-these-tests";

/// How long a program may take to do what it was asked to. Less than the 25 seconds that requests
/// are given to finish: a server that waits for nothing fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens; killed at the end.
pub struct HttpServer {
    child: Child,
    address: SocketAddr,
    stdout: Heard,
    stderr: Heard,
}

impl HttpServer {
    /// Serves a database, with the operator's routes open.
    pub fn start(url: &str) -> Self {
        Self::launch(Self::command(url).env("TENANTRY_ADMIN_TOKEN", TOKEN))
    }

    /// `tenantry serve` on any free port.
    pub fn command(url: &str) -> Command {
        let mut command = program_on("tenantry", url, &["serve"]);
        command.env("TENANTRY_LISTEN", "127.0.0.1:0").env("TENANTRY_MAX_CONNECTIONS", "4");
        command
    }

    /// Starts `command` and waits until it listens.
    pub fn launch(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Heard::from(child.stdout.take().unwrap());
        let stderr = Heard::from(child.stderr.take().unwrap());
        let address = || {
            let text = stdout.text();
            let line = text.split_once('\n')?.0;
            Some(line.split_once(" listens on ")?.1.parse().unwrap())
        };
        let started = Instant::now();
        let address = loop {
            if let Some(address) = address() {
                break address;
            }
            let ended = child.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("not served: {ended:?} {}{}", stdout.text(), stderr.text());
            }
            thread::sleep(Duration::from_millis(5));
        };
        Self { child, address, stdout, stderr }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that has gone to standard output.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything that has gone to standard error.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The part of the log that is about the request of this id, once there is any.
    pub async fn logged(&self, request_id: &str) -> Vec<String> {
        let mut lines = Vec::new();
        eventually("the request is logged", async || {
            let log = self.stderr();
            let about = log.lines().filter(|line| line.contains(request_id));
            lines = about.map(str::to_owned).collect();
            !lines.is_empty()
        })
        .await;
        lines
    }

    /// The id of its process.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Sends the server a signal, such as SIGTERM or SIGINT, to stop it.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The status of a server that has ended by itself.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until the server has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries again and again until `holds`, and panics when it never does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a program has said so far.
struct Heard(Arc<Mutex<String>>);

impl Heard {
    fn from(stream: impl Read + Send + 'static) -> Self {
        let heard = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&heard);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                writer.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self(heard)
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}
