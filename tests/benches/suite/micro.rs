//! Time to resolve a tenant that is cached, from one thread and from two at the same time.

use std::{hint::black_box, time::Instant};

use futures_util::future::join_all;
use migration::Migrator;
use tenantry::{Config, NewTenant, Slug, Tenancy};

use crate::common::{median, page, server, stop};

/// Short and many, so that the median is that of undisturbed rounds.
const ROUNDS: usize = 2001;
const LOOKUPS: usize = 1000;
const TENANTS: usize = 200;

pub async fn run() {
    let server = server().await;
    let config = Config { max_connections: 10, ..Config::new(server.url("postgres"), Migrator) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let slugs: Vec<Slug> = (0..TENANTS).map(|n| format!("tenant-{n}").parse().unwrap()).collect();
    for slug in &slugs {
        tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
    }
    let mut body =
        "| work | one thread | two threads, each | goal |\n|---|---|---|---|\n".to_owned();
    let hosts = slugs.iter().map(|slug| format!("{slug}.localhost:3000")).collect();
    let works = [
        ("a cached tenant, by slug", Work::Slugs(slugs), "< 200 ns"),
        ("a cached tenant, by host", Work::Hosts(hosts), ""),
    ];
    for (what, work, goal) in works {
        let mut columns = Vec::new();
        for threads in [1, 2] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let tasks =
                    (0..threads).map(|_| tokio::spawn(round(tenancy.clone(), work.clone())));
                for nanos in join_all(tasks).await {
                    rounds.push(nanos.unwrap());
                }
            }
            columns.push(format!("{:.0} ns", median(&rounds)));
        }
        body.push_str(&format!("| {what} | {} | {goal} |\n", columns.join(" | ")));
    }
    page::write("micro", "Nanoseconds", server.version(), &body);
    tenancy.close().await;
    stop(server).await;
}

#[derive(Clone)]
enum Work {
    Slugs(Vec<Slug>),
    Hosts(Vec<String>),
}

/// Nanoseconds for each lookup.
async fn round(tenancy: Tenancy, work: Work) -> f64 {
    let started = Instant::now();
    for n in 0..LOOKUPS {
        let found = match &work {
            Work::Slugs(slugs) => tenancy.tenant(&slugs[n % TENANTS]).await,
            Work::Hosts(hosts) => tenancy.tenant_by_host(&hosts[n % TENANTS]).await,
        };
        black_box(found.unwrap());
    }
    started.elapsed().as_nanos() as f64 / LOOKUPS as f64
}
