//! The number of statements that a connection keeps prepared: reads by key in many tenants, and the
//! memory of the server processes.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (7).

use std::{fmt::Write, time::Duration};

use futures_util::future::join_all;
use tenantry::{Config, Tenancy};

use crate::{
    common::page,
    contenders::{
        Contender, handle,
        setup::{Setup, config},
    },
    distributions::{Distribution, warm},
    interleaved::{Rounds, number},
    processes::Memory,
    workload::Workload,
};

const LENGTH: Duration = Duration::from_millis(250);
const CONNECTIONS: u32 = 10;
const CLIENTS: usize = 8;
const KEPT: [usize; 6] = [100, 250, 500, 1000, 2000, 4000];
/// Reads of each contender in every tenant before it is measured.
const WARM: usize = 2;

pub async fn run() {
    let (tenants, rounds) = (number("TENANTS", 10_000), number("ROUNDS", 7));
    let mut setup = Setup::new().await;
    setup.grow(tenants).await;
    let memory = Memory::new(&setup.server).await;
    let mut body = format!(
        "Reads by primary key, a second, in {tenants} tenants by {CLIENTS} clients on {CONNECTIONS} \
         connections; medians of {rounds} rounds of {LENGTH:?}. Connections are not recycled, so \
         that they hold as many statements as they may; below, the private memory of their server \
         processes.\n\n| drawn | {} |\n|---|{}\n",
        KEPT.map(|kept| format!("{kept} statements kept")).join(" | "),
        "---|".repeat(KEPT.len()),
    );
    let url = setup.server.url("postgres");
    let open = KEPT.map(|statement_cache| {
        let config = config(&url, &format!("prepared_{statement_cache}"), CONNECTIONS);
        let config =
            Config { statement_cache: Some(statement_cache), connection_memory: None, ..config };
        async move { Tenancy::connect(&config).await.unwrap() }
    });
    let tenancies = join_all(open).await;
    let contenders: Vec<Contender> = tenancies.iter().map(handle).collect();
    for contender in &contenders {
        warm(contender, &setup.tenants, WARM, Workload::Reads).await;
    }
    for distribution in [Distribution::Zipf, Distribution::Uniform] {
        let works: Vec<_> =
            contenders.iter().map(|one| distribution.reads(one, &setup.tenants)).collect();
        let ran = Rounds::of(&works, CLIENTS, LENGTH, rounds).await;
        let rates = (0..KEPT.len()).map(|who| format!("{:.0}", ran.rate(who)));
        let rates = rates.collect::<Vec<_>>().join(" | ");
        writeln!(body, "| {} | {rates} |", distribution.name()).unwrap();
    }
    let mut used = Vec::new();
    for kept in KEPT {
        used.push(format!("{:.0} MiB", memory.of(&format!("prepared_{kept}")).await));
    }
    writeln!(body, "| memory | {} |", used.join(" | ")).unwrap();
    for tenancy in tenancies {
        tenancy.close().await;
    }
    memory.close().await;
    page::write("prepared-statements", "Prepared statements", setup.server.version(), &body);
    setup.stop().await;
}
