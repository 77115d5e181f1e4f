//! Whole lists, a line of JSON for each row, and answers that are compressed.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::{Caller, Site, execute, heard};
use crate::support::http_server::eventually;

const LINES: &str = "application/x-ndjson";
/// More than are fetched at once.
const MANY: usize = 450;

impl Caller {
    fn lines(&self, path: &str) -> RequestBuilder {
        self.request("GET", path).header("accept", LINES)
    }
}

impl Site {
    /// Guards named by numbers, with ids in that order.
    async fn many_guards(&self, schema: &str, count: usize, padding: usize) {
        let sql = format!(
            "INSERT INTO {schema}.guards
             SELECT lpad(to_hex(n), 32, '0')::uuid, n::text, repeat('x', {padding}), now(), now()
             FROM generate_series(1, {count}) AS n"
        );
        execute(&self.db.plain().await, &sql).await;
    }
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_whole_list_comes_as_lines() {
    let (site, one, two) = Site::with_tenants().await;
    site.many_guards("tenant_1", MANY, 5).await;
    two.guard("Zoe", "Guard").await;
    let answer = heard(one.lines("/guards")).await.is(200);
    assert_eq!(answer.header("content-type"), LINES);
    assert_eq!(answer.header("vary"), "accept");
    let rows = parsed(&answer.text);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let wanted: Vec<_> = (1..=MANY).map(|n| n.to_string()).collect();
    assert_eq!(names, wanted);
    // Each is just what the guard's own path tells.
    let path = format!("/guards/{}", rows[7]["id"].as_str().unwrap());
    assert_eq!(one.get(&path).await.is(200).json(), rows[7]);

    let after = rows[MANY - 3]["id"].as_str().unwrap();
    let rest = heard(one.lines(&format!("/guards?after={after}"))).await.is(200);
    assert_eq!(parsed(&rest.text), rows[MANY - 2..]);
    let filtered = heard(one.lines("/guards?search=44")).await.is(200);
    assert_eq!(parsed(&filtered.text).len(), 14);
    let none = heard(one.lines("/guards?search=zoe")).await.is(200);
    assert_eq!((none.header("content-type"), none.text.as_str()), (LINES, ""));
    // Without being asked for, a list is a page as ever.
    assert_eq!(one.names("/guards").await.len(), 50);
}

#[tokio::test]
async fn shifts_come_as_lines_too() {
    let (_site, one, _) = Site::with_tenants().await;
    let guard = one.guard("Abu", "Guard").await;
    let body =
        serde_json::json!({"starts_at": "2026-01-01T08:00:00Z", "ends_at": "2026-01-01T16:00:00Z"});
    let path = format!("{guard}/shifts");
    let shift = one.post(&path, body).await.is(201).json();
    for path in [path.as_str(), "/shifts"] {
        let request =
            one.request("GET", path).header("accept", format!("text/html, {LINES};q=0.9"));
        assert_eq!(parsed(&heard(request).await.is(200).text), std::slice::from_ref(&shift));
    }
    let unknown = format!("/guards/{}/shifts", uuid::Uuid::nil());
    heard(one.lines(&unknown)).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_client_that_reads_slowly_keeps_no_connection_from_others() {
    let (site, one, _) = Site::with_tenants().await;
    // More than what lies between the server and a client that does not read.
    site.many_guards("tenant_1", 100_000, 180).await;
    let mut slow: Vec<Response> = Vec::new();
    // Twice as many as the server has connections to the database.
    for _ in 0..8 {
        slow.push(one.lines("/guards").send().await.unwrap());
    }
    eventually("others are served", async || one.get("/guards?limit=1").await.status == 200).await;
    let mut text = Vec::new();
    let mut last = slow.pop().unwrap();
    while let Some(chunk) = last.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 100_000);
}

#[tokio::test]
async fn a_list_that_cannot_go_on_breaks_off_and_the_log_says_why() {
    let (site, one, _) = Site::with_tenants().await;
    site.many_guards("tenant_1", 100_000, 180).await;
    let request = one.lines("/guards").header("x-request-id", "broken-1");
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    site.set_status("tenant-1", "suspended").await;
    let error = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it has come to its end"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error}");
    eventually("the log says why", async || {
        let lines = site.serving.logged("broken-1").await;
        lines.iter().any(|line| line.contains("aborted") && line.contains("suspended"))
    })
    .await;
    heard(one.lines("/guards")).await.problem(404, "unknown-host");
}

#[tokio::test]
async fn lists_are_compressed_for_those_who_ask_for_it() {
    let (site, one, _) = Site::with_tenants().await;
    site.many_guards("tenant_1", 200, 20).await;
    for (path, accept) in [("/guards?limit=200", "application/json"), ("/guards", LINES)] {
        let plain = heard(one.request("GET", path).header("accept", accept)).await.is(200);
        assert!(plain.headers.get("content-encoding").is_none());
        let request = one.request("GET", path).header("accept", accept);
        let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["content-encoding"], "gzip");
        let vary: Vec<_> = headers.get_all("vary").iter().map(|it| it.to_str().unwrap()).collect();
        assert!(vary.contains(&"accept-encoding") && vary.contains(&"accept"), "{vary:?}");
        let body = answer.bytes().await.unwrap();
        assert!(body.len() < plain.text.len() / 4, "{} of {}", body.len(), plain.text.len());
        let mut text = String::new();
        GzDecoder::new(body.as_ref()).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain.text);
    }
    // Too short to be worth it.
    let short = one.request("GET", "/guards?limit=1").header("accept-encoding", "gzip");
    assert!(heard(short).await.is(200).headers.get("content-encoding").is_none());
}
