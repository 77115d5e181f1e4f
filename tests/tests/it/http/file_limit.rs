//! More idle connections than the usual limit on open files: the server still answers.

use std::{net::TcpStream, process::Command};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;
use crate::support::process::Ran;

const IDLE: usize = 1100;

/// `tenantry serve` under the limits that this command of the shell sets.
fn limited(url: &str, limits: &str) -> Command {
    let server = HttpServer::command(url);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits} && exec \"$0\" serve")]).arg(server.get_program());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Connections on which nothing is sent.
fn idle(site: &Site) -> Vec<TcpStream> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    (0..IDLE).map(|_| TcpStream::connect(site.serving.address()).unwrap()).collect()
}

async fn answers_beside_idle_connections(limits: &str) {
    let db = TestDb::new().await;
    let serving = HttpServer::launch(limited(&db.url(), limits).env("TENANTRY_ADMIN_TOKEN", TOKEN));
    let site = Site { serving, db };
    site.create("tenant-1").await;
    let one = site.caller("tenant-1.localhost");
    one.guard("Abu", "Guard").await;
    let idle = idle(&site);
    for _ in 0..3 {
        // Each on a connection of its own.
        let another = site.caller("tenant-1.localhost");
        assert_eq!(another.names("/guards").await, ["Abu"]);
        another.get("/health").await.is(204);
    }
    drop(idle);
    let log = site.serving.stderr();
    assert!(!log.contains("cannot accept connections"), "{log}");
}

#[tokio::test]
async fn idle_connections_beyond_the_soft_limit_on_open_files_do_not_lock_clients_out() {
    answers_beside_idle_connections("ulimit -S -n 1024").await;
}

#[tokio::test]
async fn idle_connections_beyond_the_hard_limit_on_open_files_do_not_lock_clients_out() {
    answers_beside_idle_connections("ulimit -n 512").await;
}

#[tokio::test]
async fn a_limit_too_low_to_serve_is_refused_with_the_number_that_is_needed() {
    let db = TestDb::new().await;
    let ran = Ran::of(&mut limited(&db.url(), "ulimit -n 40")).exits(1);
    // 4 to the database, one for notifications.
    ran.complains(["the limit on open files is 40", "raise it to 85 or more", "--max-connections"]);
    crate::support::catalog::schemas(&db.plain().await).await;
}
