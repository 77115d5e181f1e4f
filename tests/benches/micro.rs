//! What it costs to find a tenant that is known, from one thread and from two at once.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{hint::black_box, time::Instant};

use futures_util::future::join_all;
use migration::tenant::Migrator;
use service::{
    Slug,
    tenancy::{Config, NewTenant, Tenancy},
};

#[expect(dead_code, reason = "other benchmarks need more of it")]
mod common;

use common::page;

/// Short and many, so that the median is of rounds that nothing else has disturbed.
const ROUNDS: usize = 2001;
const LOOKUPS: usize = 1000;
const TENANTS: usize = 200;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let server = common::server().await;
    let config = Config { max_connections: 2, ..Config::new(server.url("postgres"), Migrator) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let slugs: Vec<Slug> = (0..TENANTS).map(|n| format!("tenant-{n}").parse().unwrap()).collect();
    for slug in &slugs {
        tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
    }
    let mut body =
        "| known tenant found by | one thread | two threads, each |\n|---|---|---|\n".to_owned();
    let hosts = slugs.iter().map(|slug| format!("{slug}.localhost:3000")).collect();
    let slugs = Keys::Slugs(slugs);
    for (what, keys) in [("slug", slugs), ("host", Keys::Hosts(hosts))] {
        let mut columns = Vec::new();
        for threads in [1, 2] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let tasks =
                    (0..threads).map(|_| tokio::spawn(round(tenancy.clone(), keys.clone())));
                for nanos in join_all(tasks).await {
                    rounds.push(nanos.unwrap());
                }
            }
            columns.push(format!("{:.0} ns", common::median(&rounds)));
        }
        body.push_str(&format!("| {what} | {} |\n", columns.join(" | ")));
    }
    page::write("micro", "Finding a known tenant", server.version(), &body);
    tenancy.close().await;
    common::stop(server).await;
}

#[derive(Clone)]
enum Keys {
    Slugs(Vec<Slug>),
    Hosts(Vec<String>),
}

/// Nanoseconds for each of many lookups.
async fn round(tenancy: Tenancy, keys: Keys) -> f64 {
    let begun = Instant::now();
    for n in 0..LOOKUPS {
        let found = match &keys {
            Keys::Slugs(slugs) => tenancy.tenant(&slugs[n % TENANTS]).await,
            Keys::Hosts(hosts) => tenancy.tenant_by_host(&hosts[n % TENANTS]).await,
        };
        black_box(found.unwrap());
    }
    begun.elapsed().as_nanos() as f64 / LOOKUPS as f64
}
