//! The database server is down: the answer comes at once, its cause is in the log and in `/health`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    task::{JoinHandle, JoinSet},
};

use super::*;
use crate::support::{
    database::{admin, server},
    http_server::eventually,
};

/// A TCP port of the test server, which has only a socket: opened and closed like the port of a
/// server that is started and stopped.
struct Port {
    address: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl Port {
    async fn open() -> Self {
        let mut port = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), open: None };
        port.reopen().await;
        port
    }

    async fn reopen(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.open = Some(tokio::spawn(async move {
            // Connections end with it.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let socket = server().socket_dir().join(".s.PGSQL.5432");
                    let mut server = UnixStream::connect(socket).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }));
    }

    async fn close(&mut self) {
        let open = self.open.take().unwrap();
        open.abort();
        let _ = open.await;
        assert!(TcpStream::connect(self.address).await.is_err(), "another program listens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_refuses_connections_requests_are_answered_at_once_and_the_log_says_why() {
    let db = TestDb::new().await;
    let mut port = Port::open().await;
    let url = format!("postgres://postgres:hunter2@{}/{}?sslmode=disable", port.address, db.name());
    let serving = HttpServer::start(&url);
    let site = Site { serving, db };
    site.create("tenant-1").await;
    let one = site.caller("tenant-1.localhost");
    one.guard("Abu", "Guard").await;

    port.close().await;
    // Connections that have ended are found.
    one.get("/guards").await;
    let start = Instant::now();
    let all = (0..60).map(|number| {
        heard(one.request("GET", "/guards").header("x-request-id", format!("down-{number}")))
    });
    for answer in futures_util::future::join_all(all).await {
        answer.problem(503, "unavailable");
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        assert!(!answer.text.contains("refused"), "{}", answer.text);
    }
    // A request alone has five seconds to get a connection.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    for number in [0, 59] {
        let lines = site.serving.logged(&format!("down-{number}")).await;
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let cause = "no connection to the database: connection refused. Is the server running";
        assert!(lines[0].contains(cause), "{lines:#?}");
    }
    let health = one.get("/health").await;
    health.problem(503, "unavailable");
    assert!(
        health.text.contains("no connection to the database: connection refused"),
        "{health:?}"
    );

    port.reopen().await;
    eventually("the guards are back", async || one.get("/guards").await.status == 200).await;
    // Until then notifications are not received, and it says so.
    eventually("all is well", async || one.get("/health").await.status == 204).await;
    let log = site.serving.stderr();
    for text in ["at line", "hunter2", "pool"] {
        assert!(!log.contains(text), "{text} in {log}");
    }
}

#[tokio::test]
async fn health_says_that_the_database_does_not_exist_without_naming_it() {
    let (site, one, _) = Site::with_tenants().await;
    let name = site.db.name().to_owned();
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    let sessions = format!("FROM pg_stat_activity WHERE datname = '{name}'");
    admin(&format!("SELECT pg_terminate_backend(pid, 10000) {sessions}")).await;
    admin(&format!("ALTER DATABASE {name} RENAME TO {name}_away")).await;

    // Connections that have ended are found.
    one.get("/guards").await;
    let answer = one.get("/health").await;
    admin(&format!("ALTER DATABASE {name}_away RENAME TO {name}")).await;
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;

    answer.problem(503, "unavailable");
    assert!(answer.text.contains("the database does not exist"), "{answer:?}");
    assert!(!answer.text.contains(&name), "{answer:?}");
    let lines = site.serving.logged(answer.header("x-request-id")).await;
    assert!(lines[0].contains(&format!("database \"{name}\" does not exist")), "{lines:#?}");

    eventually("the guards are back", async || one.get("/guards").await.status == 200).await;
}
