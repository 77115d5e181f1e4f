//! Memory of the server's processes against what is configured. Writes its section of
//! `docs/BENCHMARKS.md`.
//!
//! Environment variables: `TENANTS` (10,000), `MANY` (50,000; their creation takes minutes and 10 GB
//! of memory; 0 for none), `WARM` (reads in every tenant, 4).

use std::{fmt::Write, time::Duration};

use entity::{guard, shift};
use sea_orm::EntityTrait;
use tenantry::{Config, Tenancy};

use crate::{
    common::page,
    contenders::{
        handle,
        setup::{Setup, config, tenancy},
    },
    distributions::warm,
    interleaved::number,
    processes::Memory,
    workload::Workload,
};

const CONNECTIONS: u32 = 8;
const MIB: u64 = 1 << 20;
/// Pause between two readings.
const PAUSE: Duration = Duration::from_millis(250);
/// What 8 connections took in 10,000 tenants, in MiB, when each was replaced after 2,000 tenants.
const BEFORE: f64 = 268.0;

pub async fn run() {
    let (tenants, many) = (number("TENANTS", 10_000), number("MANY", 50_000));
    let mut setup = Setup::new().await;
    setup.grow(tenants).await;
    let memory = Memory::new(&setup.server).await;
    let mut body = format!(
        "Private memory. One connection, two statements to each of {tenants} tenants, one tenant \
         after the other:\n\n\
         | `connection_memory` | statements kept | at the end | at its most |\n|---|---|---|---|\n"
    );
    for (budget, statements) in [
        (None, Some(100)),
        (None, Some(500)),
        (None, Some(2000)),
        (Some(16), None),
        (Some(32), None),
        (Some(64), None),
    ] {
        body += &one(&setup, &memory, budget, statements).await;
    }
    write!(
        body,
        "\n{CONNECTIONS} connections with the default configuration, {} reads by primary key in \
         every tenant by 8 clients:\n\n\
         | tenants | budget | at the end | at its most |\n|---|---|---|---|\n",
        passes()
    )
    .unwrap();
    for tenants in [tenants, many] {
        if tenants > 0 {
            setup.grow(tenants).await;
            body += &all(&setup, &memory, tenants).await;
        }
    }
    memory.close().await;
    page::write("memory", "Memory of the server's processes", setup.server.version(), &body);
    setup.stop().await;
}

fn passes() -> usize {
    number("WARM", 4)
}

/// One connection with this budget, in MiB, that keeps this number of statements.
async fn one(
    setup: &Setup,
    memory: &Memory,
    budget: Option<u64>,
    statement_cache: Option<usize>,
) -> String {
    let config = config(&setup.server.url("postgres"), "memory", 1);
    let connection_memory = budget.map(|budget| budget * MIB);
    let config = Config { connection_memory, statement_cache, ..config };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut most = 0.0_f64;
    for tenant in &setup.tenants {
        let handle = tenancy.tenant(&tenant.slug).await.unwrap();
        guard::Entity::find().one(&handle).await.unwrap();
        shift::Entity::find().one(&handle).await.unwrap();
        if tenant.number % 100 == 99 {
            most = most.max(memory.of("memory").await);
        }
    }
    let last = memory.of("memory").await;
    most = most.max(last);
    tenancy.close().await;
    let most = match budget {
        Some(budget) => at_most(most, budget as f64),
        None => format!("{most:.0} MiB"),
    };
    let budget = budget.map_or("no limit".to_owned(), |budget| format!("{budget} MiB"));
    let kept = statement_cache.map_or("as many as fit".to_owned(), |kept| kept.to_string());
    format!("| {budget} | {kept} | {last:.0} MiB | {most} |\n")
}

/// The handle as it is configured by default.
async fn all(setup: &Setup, memory: &Memory, tenants: usize) -> String {
    let url = setup.server.url("postgres");
    let each = config(&url, "", CONNECTIONS).connection_memory.unwrap();
    let budget = (u64::from(CONNECTIONS) * each / MIB) as f64;
    let tenancy = tenancy(&url, "many", CONNECTIONS).await;
    let contender = handle(&tenancy);
    let mut most = 0.0_f64;
    let mut reads = Box::pin(warm(&contender, &setup.tenants, passes(), Workload::Reads));
    loop {
        tokio::select! {
            () = &mut reads => break,
            () = tokio::time::sleep(PAUSE) => most = most.max(memory.of("many").await),
        }
    }
    let last = memory.of("many").await;
    tenancy.close().await;
    let most = at_most(most.max(last), if tenants == 10_000 { BEFORE } else { budget });
    format!("| {tenants} | {budget:.0} MiB | {last:.0} MiB | {most} |\n")
}

/// Memory and the goal for it, in MiB.
fn at_most(used: f64, goal: f64) -> String {
    if used > goal {
        format!("**{used:.0} MiB**, goal ≤ {goal:.0} MiB missed")
    } else {
        format!("{used:.0} MiB, goal ≤ {goal:.0} MiB")
    }
}
