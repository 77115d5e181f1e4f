//! A server that is stopped finishes the requests in progress.

use nix::sys::signal::Signal;
use sea_orm::TransactionTrait;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::Site;
use crate::support::{catalog::texts, http_server::eventually};

#[tokio::test]
async fn a_request_in_progress_is_finished_and_no_other_is_started() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut site, one, _) = Site::with_tenants().await;
        let db = site.db.plain().await;
        let lock = db.begin().await.unwrap();
        let sql = "LOCK TABLE tenant_1.guards IN ACCESS EXCLUSIVE MODE";
        sea_orm::ConnectionTrait::execute_unprepared(&lock, sql).await.unwrap();
        let abu = json!({ "name": "Abu", "position": "Guard" });
        let under_way = tokio::spawn(async move { one.post("/guards", abu).await });
        eventually("the request waits for the lock", async || {
            let waiting = "SELECT 'one' FROM pg_locks JOIN pg_database d ON d.oid = database
                           WHERE datname = current_database() AND NOT granted";
            !texts(&db, waiting).await.is_empty()
        })
        .await;

        site.serving.signal(signal);
        let address = site.serving.address();
        eventually("new connections are refused", async || {
            TcpStream::connect(address).await.is_err()
        })
        .await;
        assert!(!under_way.is_finished(), "the lock is not released yet");
        lock.rollback().await.unwrap();

        let answer = under_way.await.unwrap().is(201);
        assert_eq!(answer.json()["name"], "Abu");
        let status = site.serving.ended().await;
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        let stored = texts(&db, "SELECT name FROM tenant_1.guards").await;
        assert_eq!(stored, ["Abu"], "{signal}");
    }
}

#[tokio::test]
async fn unused_connections_do_not_keep_the_server_running() {
    let (mut site, one, _) = Site::with_tenants().await;
    // One that has served a request and is kept for the next, one that has sent nothing yet.
    one.get("/guards").await.is(200);
    let silent = TcpStream::connect(site.serving.address()).await.unwrap();
    site.serving.signal(Signal::SIGTERM);
    assert_eq!(site.serving.ended().await.code(), Some(0));
    drop(silent);
    let log = site.serving.stderr();
    assert!(log.contains("stopping") && !log.contains("still under way"), "{log}");
}

#[tokio::test]
async fn half_a_request_does_not_keep_the_server() {
    let (mut site, _, _) = Site::with_tenants().await;
    let mut streams = Vec::new();
    for half in ["P", "GET /guards HTTP/1.1\r\nhost: loc", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut stream = TcpStream::connect(site.serving.address()).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    site.serving.signal(Signal::SIGTERM);
    // Waits for less than the 25 seconds that requests are given.
    assert_eq!(site.serving.ended().await.code(), Some(0));
    let log = site.serving.stderr();
    assert!(!log.contains("still under way"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let (mut site, one, _) = Site::with_tenants().await;
    let db = site.db.plain().await;
    let lock = db.begin().await.unwrap();
    let sql = "LOCK TABLE tenant_1.guards IN ACCESS EXCLUSIVE MODE";
    sea_orm::ConnectionTrait::execute_unprepared(&lock, sql).await.unwrap();
    let request = one.request("GET", "/guards");
    let under_way = tokio::spawn(async move { request.send().await.is_err() });
    eventually("the request waits for the lock", async || {
        let waiting = "SELECT 'one' FROM pg_locks JOIN pg_database d ON d.oid = database
                       WHERE datname = current_database() AND NOT granted";
        !texts(&db, waiting).await.is_empty()
    })
    .await;
    site.serving.signal(Signal::SIGTERM);
    eventually("the first signal is heard", async || site.serving.stderr().contains("stopping"))
        .await;
    assert!(!under_way.is_finished());
    site.serving.signal(Signal::SIGINT);
    // As a shell says it of who died of SIGINT.
    assert_eq!(site.serving.ended().await.code(), Some(130));
    assert!(under_way.await.unwrap(), "it was answered");
    lock.rollback().await.unwrap();
}
