//! What it costs to find a tenant that is known, and what the handle does itself for a statement,
//! from one thread and from two at once.

use std::{hint::black_box, time::Instant};

use futures_util::future::join_all;
use migration::Migrator;
use tenantry::{Config, NewTenant, Slug, Tenancy};

use crate::common::{median, page, server, stop};

/// As SeaORM writes it.
const SQL: &str = r#"SELECT "guards"."id", "guards"."name", "guards"."position", "guards"."inserted_at", "guards"."updated_at" FROM "@tenant"."guards" WHERE "guards"."id" = $1"#;

/// Short and many, so that the median is of rounds that nothing else has disturbed.
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
        let tenant = tenancy.tenant(slug).await.unwrap();
        // Opens its connection.
        tenant.rehearse(SQL).await.unwrap();
    }
    let mut body = "The handle's own work for a statement is all that it does but to send it: the          tenant's state, the text with the schema in it, the choice among 10 connections. It          allocates that text and nothing else, which a test asserts.\n\n\
         | work | one thread | two threads, each | goal |\n|---|---|---|---|\n"
        .to_owned();
    let hosts = slugs.iter().map(|slug| format!("{slug}.localhost:3000")).collect();
    let works = [
        ("a known tenant found by slug", Work::Slugs(slugs.clone()), "< 200 ns"),
        ("a known tenant found by host", Work::Hosts(hosts), ""),
        ("the handle's own work for a statement", Work::Statements(slugs), "< 1000 ns"),
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
    Statements(Vec<Slug>),
}

/// Nanoseconds for each of many pieces of work.
async fn round(tenancy: Tenancy, work: Work) -> f64 {
    let mut handles = Vec::new();
    if let Work::Statements(slugs) = &work {
        for slug in slugs {
            handles.push(tenancy.tenant(slug).await.unwrap());
        }
    }
    let begun = Instant::now();
    for n in 0..LOOKUPS {
        match &work {
            Work::Slugs(slugs) => {
                black_box(tenancy.tenant(&slugs[n % TENANTS]).await.unwrap());
            }
            Work::Hosts(hosts) => {
                black_box(tenancy.tenant_by_host(&hosts[n % TENANTS]).await.unwrap());
            }
            Work::Statements(_) => {
                black_box(handles[n % TENANTS].rehearse(black_box(SQL)).await.unwrap());
            }
        }
    }
    begun.elapsed().as_nanos() as f64 / LOOKUPS as f64
}
