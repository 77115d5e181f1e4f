//! More requests at a time than the server takes.

use std::{fs, time::Duration};

use axum::http::Request;
use futures_util::future::join_all;
use h2::client::{Builder, ResponseFuture};
use sea_orm::{DatabaseTransaction, TransactionTrait};

use super::{Answer, Site};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN, eventually},
    http2::{Http2, heard},
};

/// Connections of HTTP/2, with as many requests on each as the server allows.
const CONNECTIONS: usize = 200;
const STREAMS: usize = 100;

impl Site {
    /// A site that serves so many requests at a time, with the tenant `tenant-1`.
    async fn bounded(max_requests: &str) -> Self {
        let db = TestDb::new().await;
        let mut command = HttpServer::command(&db.url());
        command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_MAX_REQUESTS", max_requests);
        let site = Self { serving: HttpServer::launch(&mut command), db };
        site.create("tenant-1").await;
        site
    }

    /// Lets every request for the guards of `tenant-1` wait until the transaction ends.
    async fn lock(&self) -> DatabaseTransaction {
        let lock = self.db.plain().await.begin().await.unwrap();
        let sql = "LOCK TABLE tenant_1.guards IN ACCESS EXCLUSIVE MODE";
        sea_orm::ConnectionTrait::execute_unprepared(&lock, sql).await.unwrap();
        lock
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_bound_are_503_at_once_and_take_no_memory() {
    let site = Site::bounded("200").await;
    let one = site.caller("tenant-1.localhost");
    one.get("/guards").await.is(200);
    let before = memory(&site);
    let lock = site.lock().await;

    let address = site.serving.address();
    let mut clients = Vec::new();
    let mut answers = Vec::new();
    for number in 0..CONNECTIONS {
        let client = Http2::connect(address).await;
        for _ in 1..STREAMS {
            let request = Request::get("http://tenant-1.localhost/guards").body(()).unwrap();
            answers.push(client.send(request).await);
        }
        // Answered at once, and not before the others are under way or refused.
        let nowhere = Request::get("http://tenant-1.localhost/nowhere").body(()).unwrap();
        client.ask(nowhere).await;
        clients.push(client);
        if number == 10 {
            // The same for a client of HTTP/1.1.
            let refused = one.get("/guards").await;
            refused.problem(503, "overloaded");
            assert!(refused.header("retry-after").parse::<u32>().is_ok());
            let lines = site.serving.logged(refused.header("x-request-id")).await;
            assert!(lines.iter().all(|line| !line.contains("ERROR")), "{lines:#?}");
            one.get("/health").await.is(204);
        }
    }
    if let (Some(before), Some(now)) = (before, memory(&site)) {
        let taken = now.saturating_sub(before);
        assert!(taken < 150 * 1024, "{taken} KiB for {} requests", CONNECTIONS * STREAMS);
    }
    let log = site.serving.stderr();
    assert!(log.contains("rejecting requests"), "{log}");

    lock.rollback().await.unwrap();
    let statuses = join_all(answers.into_iter().map(status)).await;
    let count = |wanted| statuses.iter().filter(|(status, _)| *status == wanted).count();
    let overloaded = statuses.iter().filter(|(_, text)| text.contains("overloaded")).count();
    // Some wait in the places of those that have given up waiting for a connection.
    assert!(overloaded > statuses.len() * 9 / 10, "{overloaded}");
    assert_eq!(count(503) + count(200), statuses.len(), "{statuses:?}");
    eventually("all is well again", async || one.get("/guards").await.status == 200).await;
}

#[tokio::test]
async fn requests_whose_bodies_do_not_come_count_and_the_service_is_well() {
    let site = Site::bounded("20").await;
    let one = site.caller("tenant-1.localhost");
    let client = Http2::connect(site.serving.address()).await;
    let mut bodies = Vec::new();
    for _ in 0..20 {
        let request = Request::post("http://tenant-1.localhost/guards")
            .header("content-type", "application/json")
            .body(());
        bodies.push(client.begin(request.unwrap()).await);
    }
    // On the same connection, so that it comes after them.
    let health = Request::get("http://localhost/health").body(()).unwrap();
    assert_eq!(client.ask(health).await.status, 204);
    one.get("/guards").await.problem(503, "overloaded");
    one.get("/health").await.is(204);
    for (answer, mut body) in bodies {
        body.send_data(r#"{"name":"Abu","position":"Guard"}"#.into(), true).unwrap();
        assert_eq!(status(answer).await.0, 201);
    }
    assert_eq!(one.get("/guards?count=true").await.is(200).json()["count"], 20);
}

#[tokio::test]
async fn a_connection_has_a_bounded_number_of_requests_under_way() {
    let site = Site::bounded("1000").await;
    let client = Http2::connect(site.serving.address()).await;
    let request = || Request::get("http://tenant-1.localhost/guards").body(()).unwrap();
    client.ask(request()).await;
    assert_eq!(client.max_streams(), STREAMS);
}

#[tokio::test]
async fn an_answer_that_is_not_read_counts_until_the_connection_is_closed() {
    let site = Site::bounded("20").await;
    let one = site.caller("tenant-1.localhost");
    one.guard("Abu", "Guard").await;
    // A client that allows no byte of any body to be sent to it.
    let mut builder = Builder::new();
    builder.initial_window_size(0);
    let client = Http2::connect_with(&builder, site.serving.address()).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        let request = Request::get("http://tenant-1.localhost/guards").body(()).unwrap();
        answers.push(client.send(request).await.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status() == 200));
    one.get("/guards").await.problem(503, "overloaded");
    one.get("/health").await.is(204);
    drop((answers, client));
    eventually("their places are free", async || one.get("/guards").await.status == 200).await;
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_its_place() {
    let site = Site::bounded("5").await;
    let one = site.caller("tenant-1.localhost");
    let lock = site.lock().await;
    for _ in 0..4 {
        eventually("five at a time wait for their answer, and are given up", async || {
            let impatient = (0..5).map(|_| {
                let request = one.request("GET", "/guards").timeout(Duration::from_millis(200));
                async move { request.send().await.is_err_and(|error| error.is_timeout()) }
            });
            join_all(impatient).await == [true; 5]
        })
        .await;
    }
    lock.rollback().await.unwrap();
    eventually("all is well again", async || one.get("/guards").await.status == 200).await;
}

/// What is heard of a request in the end.
async fn status(answer: ResponseFuture) -> (u16, String) {
    let heard = heard(answer).await.unwrap();
    let answer = Answer { status: heard.status, headers: heard.headers, text: heard.text };
    (answer.status, answer.text)
}

/// The most memory that the server has had, in KiB, where the system tells it.
fn memory(site: &Site) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", site.serving.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
