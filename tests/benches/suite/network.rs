//! Throughput over a network: a proxy delays every request, so that round trips dominate. With
//! PgBouncer from 1.21 on, also through it. Writes its section of `docs/BENCHMARKS.md`.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (9), `DELAY` (in microseconds, 1,000),
//! `WARM` (reads of each contender in every tenant before it is measured, 3).

pub mod delay;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::ConnectionTrait;
use tenantry::Tenancy;
use tests::pgbouncer::{PgBouncer, PoolMode, Program, ROLE, create_role};

use crate::common::{median, page, pool};
use crate::contenders::{
    Contender, by_hand, handle,
    job::{Job, Operation},
    named, pools, raw_prepared, raw_unprepared, session, set_local,
    setup::{Setup, config, tenancy},
};
use crate::distributions::{Distribution, warm};
use crate::interleaved::{Rounds, against, number};
use crate::workload::Workload;

const LENGTH: Duration = Duration::from_millis(300);
const CONNECTIONS: u32 = 8;
/// Statements that PgBouncer keeps in each connection, as many as the handle's pool by default.
const STATEMENTS: u32 = 1000;

// Indexes of the contenders of a round.
const HANDLE: usize = 0;
const SET_LOCAL: usize = 1;
const SESSION: usize = 2;
const BY_HAND: usize = 3;
const RAW: usize = 4;
const UNPREPARED: usize = 5;
const ALONE: usize = 6;
const POOLED: usize = 7;

pub async fn run() {
    let (last, rounds, passes) =
        (number("TENANTS", 10_000), number("ROUNDS", 9), number("WARM", 3));
    let delay = Duration::from_micros(number("DELAY", 1000) as u64);
    let mut setup = Setup::new().await;
    let url = delay::proxy(setup.server.socket_dir().join(".s.PGSQL.5432"), delay);
    let tenancy = tenancy(&url, "handle", CONNECTIONS).await;
    let pgbouncer = Program::that_prepares("through PgBouncer");
    let pgbouncer = pgbouncer.map(|program| pooler(&program, &setup));
    let pooled_tenancy = match &pgbouncer {
        Some(pgbouncer) => Some(pooled(pgbouncer, &url, &setup, delay).await),
        None => None,
    };
    let contenders = [
        handle(&tenancy),
        set_local(&url, CONNECTIONS).await,
        session(&url, CONNECTIONS).await,
        by_hand(&url, CONNECTIONS).await,
        raw_prepared(&url, CONNECTIONS).await,
        raw_unprepared(&url, CONNECTIONS).await,
    ];
    let pooled = pooled_tenancy.as_ref().map(handle);
    let alone = pools(&url, &setup.tenants, CONNECTIONS).await;
    let mut rows = String::new();
    let hot = [Operation::Read, Operation::Insert, Operation::Transaction];
    for operation in hot {
        let mut works: Vec<_> =
            contenders.iter().map(|one| in_first(one, &setup, operation)).collect();
        works.push(in_first(&alone, &setup, operation));
        works.extend(pooled.iter().map(|one| in_first(one, &setup, operation)));
        let ran = Rounds::of(&works, CONNECTIONS as usize, LENGTH, rounds).await;
        rows += &row(&format!("{}, 1 tenant", operation.name()), &ran, pooled.is_some(), None);
    }
    let trip = median(&round_trips(&alone, &setup).await);
    setup.grow(last).await;
    for contender in contenders.iter().chain(&pooled) {
        warm(contender, &setup.tenants, passes, Workload::Reads).await;
    }
    for distribution in [Distribution::Zipf, Distribution::Uniform] {
        let reads = |one| distribution.reads(one, &setup.tenants);
        let mut works: Vec<_> = contenders.iter().map(reads).collect();
        works.push(distribution.reads(&alone, &setup.tenants[..1]));
        works.extend(pooled.iter().map(reads));
        let ran = Rounds::of(&works, CONNECTIONS as usize, LENGTH, rounds).await;
        let name = format!("{}, {last} tenants, {}", Operation::Read.name(), distribution.name());
        rows += &row(&name, &ran, pooled.is_some(), (last >= 10_000).then_some(3.0));
    }
    let through = match &pgbouncer {
        Some(pgbouncer) => format!(
            "Through PgBouncer {} in transaction mode, which shares as many connections to the \
             server and keeps {STATEMENTS} statements in each",
            pgbouncer.version()
        ),
        None => "Not measured through PgBouncer: there is none from 1.21 on".to_owned(),
    };
    let body = format!(
        "A proxy on TCP holds up every request by {delay:?}; a read by primary key, made alone, \
         then takes {trip:.2} ms. {CONNECTIONS} clients, {CONNECTIONS} connections; medians of \
         {rounds} rounds of {LENGTH:?}. Raw is tokio-postgres, pipelined, a tenant always on the \
         same connection and all statements prepared; a transaction has a connection for itself. Unprepared: the same with the text of every statement, in one round trip. \
         SeaORM alone stays in 1 tenant. {through}.\n\n\
         | operation | handle | ÷ raw | ÷ SeaORM alone | ÷ `SET LOCAL` | ÷ session `SET` \
         | ÷ sqlx by hand | unprepared ÷ raw | handle through PgBouncer ÷ handle |\n\
         |---|---|---|---|---|---|---|---|---|\n{rows}"
    );
    page::write("network", "Over a network", setup.server.version(), &body);
    for contender in contenders.into_iter().chain([alone]).chain(pooled) {
        contender.close().await;
    }
    tenancy.close().await;
    if let Some(pooled) = pooled_tenancy {
        pooled.close().await;
    }
    // Before the server.
    tokio::task::spawn_blocking(move || drop(pgbouncer)).await.unwrap();
    setup.stop().await;
}

/// PgBouncer with as many connections to the server as the contenders have.
fn pooler(program: &Program, setup: &Setup) -> PgBouncer {
    let mode = PoolMode::Transaction { statements: STATEMENTS };
    program.start(&setup.server, mode, CONNECTIONS as usize, &[ROLE])
}

/// A tenancy whose tenants' statements go through PgBouncer, over the network.
async fn pooled(pgbouncer: &PgBouncer, url: &str, setup: &Setup, delay: Duration) -> Tenancy {
    let db = pool(&setup.server, 1).await;
    db.execute_unprepared(&create_role()).await.unwrap();
    db.close().await.unwrap();
    let through = delay::proxy(pgbouncer.socket(), delay);
    let through = through.replace("//postgres@", &format!("//{ROLE}@"));
    let config = config(&through, "pooled", CONNECTIONS).direct_url(named(url, "direct"));
    Tenancy::connect(&config).await.unwrap()
}

fn row(name: &str, ran: &Rounds, pooled: bool, goal: Option<f64>) -> String {
    let set_local = ran.ratio(HANDLE, SET_LOCAL);
    let ratio = |who, to| format!("{:.2}", ran.ratio(who, to));
    let ratios = [
        ratio(HANDLE, RAW),
        ratio(HANDLE, ALONE),
        goal.map_or_else(|| format!("{set_local:.2}"), |goal| against(set_local, goal)),
        ratio(HANDLE, SESSION),
        ratio(HANDLE, BY_HAND),
        ratio(UNPREPARED, RAW),
        if pooled { ratio(POOLED, HANDLE) } else { String::new() },
    ];
    format!("| {name} | {:.0}/s | {} |\n", ran.rate(HANDLE), ratios.join(" | "))
}

fn in_first(
    contender: &Contender,
    setup: &Setup,
    operation: Operation,
) -> crate::interleaved::Work {
    let tenant = Arc::clone(&setup.tenants[0]);
    // Each client updates its own guard, so that none waits for a lock across the network.
    contender.work(move |client| Job {
        operation,
        tenant: Arc::clone(&tenant),
        row: client,
        client,
    })
}

/// Durations of single reads, in milliseconds.
async fn round_trips(alone: &Contender, setup: &Setup) -> Vec<f64> {
    let work = in_first(alone, setup, Operation::Read);
    let mut took = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        work(0).await;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    took
}
