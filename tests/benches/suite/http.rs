//! The server compared with one without tenants, of axum and sqlx only. Writes its section of
//! `docs/BENCHMARKS.md`.
//!
//! Environment variables: `ROUNDS` (15), `CLIENTS` (16).

mod bare;
mod child;
mod load;

use std::{fmt::Write, process::Command, time::Duration};

use crate::common::page;
use crate::interleaved::{Rounds, against, number};
use child::Child;
use load::{Clients, Request};
use serde_json::Value;
use service::guard::{self, NewGuard};
use tenantry::{Config, NewTenant, Tenancy};

const LENGTH: Duration = Duration::from_millis(300);
const CONNECTIONS: &str = "8";
const HOST: &str = "tenant-1.localhost";
/// Environment variable that makes this program the bare server; the URL of its database.
const BARE: &str = "BARE_DATABASE_URL";

/// Whether this process is the bare server.
pub fn is_rival() -> bool {
    std::env::var_os(BARE).is_some()
}

/// Serves until it is killed.
pub async fn serve_rival() {
    bare::serve(&std::env::var(BARE).unwrap(), CONNECTIONS.parse().unwrap()).await;
}

pub async fn run() {
    let (rounds, clients) = (number("ROUNDS", 15), number("CLIENTS", 16));
    let server = crate::common::server().await;
    let url = server.url("postgres");
    let tenancy = Tenancy::connect(&Config::new(&url, migration::Migrator)).await.unwrap();
    let slug = tenancy.create(NewTenant::new("tenant-1".parse().unwrap())).await.unwrap().slug;
    let abu = NewGuard { name: Some("Abu".to_owned()), position: Some("Guard".to_owned()) };
    let abu = guard::create(&tenancy, &slug, abu).await.unwrap();
    tenancy.close().await;

    let ours = Child::start(&mut tenantry(&url));
    let silent = Child::start(tenantry(&url).env("RUST_LOG", "off"));
    let bare = Child::start(Command::new(std::env::current_exe().unwrap()).env(BARE, &url));
    let requests = [
        Request::get(HOST, &format!("/guards/{}", abu.id)),
        Request::post(HOST, "/guards", r#"{"name":"Abu","position":"Guard"}"#),
    ];
    same_answer(&bare, &ours, &requests[0]).await;

    let mut body = format!(
        "The server as it is deployed, its log to nowhere, beside a handler of one schema made of \
         axum and sqlx alone. Each is a process of its own with {CONNECTIONS} connections to the \
         database. {clients} clients on kept connections, in the process of the benchmark: a request \
         is a text, its answer is read to its length. Medians of {rounds} rounds of {LENGTH:?}.\n\n\
         | request | axum and sqlx | Tenantry | ratio | ratio with `RUST_LOG=off` |\n\
         |---|---|---|---|---|\n"
    );
    for request in &requests {
        let works = [
            Clients::connect(bare.address, clients).await.work(request),
            Clients::connect(ours.address, clients).await.work(request),
            Clients::connect(silent.address, clients).await.work(request),
        ];
        let ran = Rounds::of(&works, clients, LENGTH, rounds).await;
        writeln!(
            body,
            "| `{}` | {:.0}/s | {:.0}/s | {} | {:.2} |",
            request.name().replace(&abu.id.to_string(), "{id}"),
            ran.rate(0),
            ran.rate(1),
            against(ran.ratio(1, 0), 0.9),
            ran.ratio(2, 0)
        )
        .unwrap();
    }
    page::write("http", "HTTP", server.version(), &body);
    drop((ours, silent, bare));
    crate::common::stop(server).await;
}

/// The server with its default settings, independent of the environment.
fn tenantry(url: &str) -> Command {
    let mut command = Command::new(tests::programs().join("tenantry"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TENANTRY_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.arg("serve").env("DATABASE_URL", url).env("TENANTRY_MAX_CONNECTIONS", CONNECTIONS);
    command.env("TENANTRY_LISTEN", "127.0.0.1:0").env("TENANTRY_ANONYMOUS", "true");
    command
}

/// Asserts that both servers return the same answers.
async fn same_answer(bare: &Child, ours: &Child, request: &Request) {
    let mut bodies = Vec::new();
    for server in [bare, ours] {
        let body = Clients::connect(server.address, 1).await.ask(0, request).await;
        bodies.push(serde_json::from_slice::<Value>(&body).unwrap());
    }
    assert_eq!(bodies[0], bodies[1]);
}
