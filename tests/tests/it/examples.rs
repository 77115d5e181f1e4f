//! The examples of the engine's crates run, and do what they say.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;

use crate::support::{
    TestDb,
    process::{Ran, program_on},
};

/// What an example prints on an empty database.
async fn printed(example: &str) -> String {
    let db = TestDb::new().await;
    Ran::on(&format!("examples/{example}"), &db.url(), &[""; 0]).exits(0).stdout
}

#[tokio::test]
async fn the_console_session_stores_a_guard_of_one_tenant() {
    let output = printed("console").await;
    let lines: Vec<&str> = output.lines().collect();
    let [created, stored, one, two, changed, deleted, dropped] = &lines[..] else {
        panic!("{output}")
    };
    assert_eq!(*created, "created tenant-1 with the schema tenant_1");
    assert!(stored.contains(r#"name: "Abu", position: "Guard""#), "{output}");
    assert!(one.contains("Abu") && two.ends_with("[]"), "{output}");
    assert!(changed.contains(r#"position: "Boss""#), "{output}");
    assert!(deleted.ends_with("[]") && dropped.contains("tenant-1"), "{output}");
}

#[tokio::test]
async fn a_sign_up_that_fails_leaves_no_tenant() {
    let output = printed("sign_up").await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "acme has its owner Ann");
    assert_eq!(lines[1], r#"acme pays for Plan { plan: "gold", seats: 5 }"#);
    assert_eq!(lines[2], "globex was not created: the card was declined");
    assert_eq!(lines[3], "globex: None");
    assert!(lines[4].contains("Ann") && lines.len() == 5, "{output}");
}

#[tokio::test]
async fn a_report_counts_the_guards_of_every_tenant() {
    let output = printed("report").await;
    let mut lines: Vec<&str> = output.lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(lines, ["3 tenants changed", "acme: 2 × Tower", "globex: 1 × Tower"]);
}

#[tokio::test]
async fn a_program_reacts_to_the_changes_of_others() {
    let output = printed("events").await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "welcome acme, created by ann@example.org");
    assert!(
        lines[1].starts_with("acme has changed: ") && lines[1].contains("Acme, Ltd"),
        "{output}"
    );
    assert_eq!(lines[2..], ["remove the files of acme"]);
}

#[tokio::test]
async fn a_worker_does_the_jobs_of_its_queue() {
    assert_eq!(printed("worker").await, "2 jobs done, 1 failed\n");
}

/// A program that is killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_axum_application_serves_each_tenant_its_notes() {
    let db = TestDb::new().await;
    let mut command = program_on("examples/axum", &db.url(), &[]);
    let child = command.env("ADDRESS", "127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut serving = Running(child);
    let mut line = String::new();
    BufReader::new(serving.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on ").unwrap();
    let notes = async |method, host: &str, body: &str| {
        let request = reqwest::Client::new().request(method, format!("http://{address}/notes"));
        let request = request.header("host", host).header("content-type", "application/json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, stored) = notes(Method::POST, "acme.localhost", r#""Hello""#).await;
    assert_eq!((status, stored.as_str()), (200, "Hello acme: stored as 1"));
    assert_eq!(notes(Method::GET, "acme.localhost", "").await, (200, r#"["Hello"]"#.to_owned()));
    assert_eq!(notes(Method::GET, "globex.localhost", "").await, (200, "[]".to_owned()));
    assert_eq!(notes(Method::GET, "unknown.localhost", "").await.0, 404);
    kill(Pid::from_raw(serving.0.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(serving.0.wait().unwrap().success());
}
