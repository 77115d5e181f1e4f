//! How many statements a connection should keep, and how large a lane should be: reads by key of
//! many tenants, some of whom are in demand and most are not (Zipf's law).
//!
//! `TENANTS` says how many tenants there are, 10,000 if nothing is said.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{sync::Arc, time::Duration, time::Instant};

use entity::tenant::guard;
use futures_util::future::join_all;
use migration::{postgres::Server, tenant::Migrator};
use sea_orm::EntityTrait;
use service::{
    Slug,
    tenancy::{Config, NewTenant, Tenancy},
};
use uuid::Uuid;

#[expect(dead_code, reason = "other benchmarks need more of it")]
mod common;

use common::page;

const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 5;
const CONNECTIONS: u32 = 10;
const TASKS: [u64; 2] = [3, 8];
const KEPT: [usize; 5] = [100, 250, 500, 1000, 2000];

#[tokio::main]
async fn main() {
    let count: usize = std::env::var("TENANTS").map_or(10_000, |text| text.parse().unwrap());
    let server = common::server().await;
    let slugs: Vec<Slug> = (0..count).map(|n| format!("tenant-{n}").parse().unwrap()).collect();
    let maker = open(&server, 100, 1).await;
    for slug in &slugs {
        maker.create(NewTenant::new(slug.clone())).await.unwrap();
    }
    maker.close().await;
    let load = Arc::new(Load { slugs, shares: zipf(count) });
    let mut body = format!(
        "Reads by key of {count} tenants by Zipf's law (s = 1) on {CONNECTIONS} connections, a \
         second.\n\n| tasks | connections in a lane | {} |\n|---|---|{}\n",
        KEPT.map(|kept| format!("{kept} statements kept")).join(" | "),
        "---|".repeat(KEPT.len()),
    );
    for tasks in TASKS {
        for lane_size in [1, 2, CONNECTIONS] {
            let mut rates = Vec::new();
            for kept in KEPT {
                let tenancy = open(&server, kept, lane_size).await;
                // The first round fills the connections.
                let mut rounds = Vec::new();
                for round in 0..=ROUNDS {
                    rounds.push(rate(&tenancy, &load, tasks, round as u64).await);
                }
                rates.push(format!("{:.0}", common::median(&rounds[1..])));
                tenancy.close().await;
            }
            let lane =
                if lane_size == CONNECTIONS { "all".to_owned() } else { lane_size.to_string() };
            body.push_str(&format!("| {tasks} | {lane} | {} |\n", rates.join(" | ")));
        }
    }
    page::write("lanes", "Lanes and prepared statements", server.version(), &body);
    common::stop(server).await;
}

struct Load {
    slugs: Vec<Slug>,
    /// What share of the statements is of the tenants up to this one.
    shares: Vec<f64>,
}

async fn open(server: &Server, statement_cache: usize, lane_size: u32) -> Tenancy {
    let config = Config::new(server.url("postgres"), Migrator);
    let max_connections = CONNECTIONS;
    let config = Config { max_connections, statement_cache, lane_size, ..config };
    Tenancy::connect(&config).await.unwrap()
}

fn zipf(count: usize) -> Vec<f64> {
    let weights = (1..=count).map(|n| 1.0 / n as f64);
    let mut shares: Vec<f64> = weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let all = shares[count - 1];
    shares.iter_mut().for_each(|share| *share /= all);
    shares
}

/// Reads a second.
async fn rate(tenancy: &Tenancy, load: &Arc<Load>, tasks: u64, seed: u64) -> f64 {
    let begun = Instant::now();
    let tasks = (0..tasks).map(|task| {
        let (tenancy, load) = (tenancy.clone(), Arc::clone(load));
        tokio::spawn(async move {
            let mut random = (seed * 64 + task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut reads = 0.0;
            while begun.elapsed() < ROUND {
                // Xorshift64 (Marsaglia 2003).
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
                let which = load.shares.partition_point(|upto| *upto < share);
                let slug = &load.slugs[which.min(load.slugs.len() - 1)];
                let tenant = tenancy.tenant(slug).await.unwrap();
                guard::Entity::find_by_id(Uuid::nil()).one(&tenant).await.unwrap();
                reads += 1.0;
            }
            reads
        })
    });
    let reads: f64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    reads / begun.elapsed().as_secs_f64()
}
