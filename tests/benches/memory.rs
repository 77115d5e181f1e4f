//! What the server's processes remember of the tenants that they have served, with and without
//! recycling: the memory of one process after it has read the tables of so many tenants.
//!
//! `TENANTS=1000 cargo bench --bench memory` for fewer than 10,000.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::fs;

use entity::tenant::{guard, shift};
use migration::postgres::Server;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement};
use service::tenancy::{Config, NewTenant, Tenancy, Tenant};

#[expect(dead_code, reason = "other benchmarks need more of it")]
mod common;

use common::page;

#[tokio::main]
async fn main() {
    let count: usize = std::env::var("TENANTS").map_or(10_000, |text| text.parse().unwrap());
    let server = common::server().await;
    let slugs: Vec<service::Slug> =
        (0..count).map(|n| format!("tenant-{n}").parse().unwrap()).collect();
    let maker = Tenancy::connect(&config(&server, 4, 0)).await.unwrap();
    for slug in &slugs {
        maker.create(NewTenant::new(slug.clone())).await.unwrap();
    }
    maker.close().await;
    let mut body = format!(
        "One connection, two statements to each of {count} tenants, one tenant after the other.\n\n\
         | recycled after | statements kept | private memory at the end | at its most |\n|---|---|---|---|\n"
    );
    for (recycle_after, statement_cache) in
        [(0, 100), (0, 500), (500, 500), (1000, 500), (2000, 500)]
    {
        let config = Config { statement_cache, ..config(&server, 1, recycle_after) };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let (mut most, mut last) = (0, 0);
        for (number, slug) in slugs.iter().enumerate() {
            let tenant = tenancy.tenant(slug).await.unwrap();
            guard::Entity::find().all(&tenant).await.unwrap();
            shift::Entity::find().all(&tenant).await.unwrap();
            if number % 100 == 99 {
                last = private_kib(&tenant).await;
                most = most.max(last);
            }
        }
        let mib = |kib: u64| kib as f64 / 1024.0;
        let recycled = match recycle_after {
            0 => "never".to_owned(),
            tenants => format!("{tenants} tenants"),
        };
        body.push_str(&format!(
            "| {recycled} | {statement_cache} | {:.0} MiB | {:.0} MiB |
",
            mib(last),
            mib(most)
        ));
        tenancy.close().await;
    }
    page::write("memory", "Memory of one server process", server.version(), &body);
    common::stop(server).await;
}

fn config(server: &Server, connections: u32, recycle_after: u32) -> Config {
    let url = server.url("postgres");
    let config = Config::new(url, migration::tenant::Migrator);
    Config { max_connections: connections, recycle_after, ..config }
}

/// What only the server process behind the handle has in memory.
async fn private_kib(tenant: &Tenant) -> u64 {
    let ask = Statement::from_string(DbBackend::Postgres, "SELECT pg_backend_pid()");
    let row = tenant.query_one_raw(ask).await.unwrap().unwrap();
    let pid: i32 = row.try_get_by_index(0).unwrap();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}
