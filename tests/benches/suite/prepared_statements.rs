//! How many statements a connection should keep: reads by key of many tenants, and the memory that
//! they leave behind in the server.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (7).

use std::{fmt::Write, time::Duration};

use futures_util::future::join_all;
use tenantry::{Config, Tenancy};

use crate::{
    common::page,
    contenders::{
        Contender, handle,
        setup::{Stage, config},
    },
    distributions::{Drawn, warm},
    interleaved::{Rounds, number},
    processes::Memory,
};

const LENGTH: Duration = Duration::from_millis(250);
const CONNECTIONS: u32 = 10;
const CLIENTS: usize = 8;
const KEPT: [usize; 6] = [100, 250, 500, 1000, 2000, 4000];
/// Times that each contender is in every tenant before it is measured.
const WARM: usize = 2;

pub async fn run() {
    let (tenants, rounds) = (number("TENANTS", 10_000), number("ROUNDS", 7));
    let mut stage = Stage::new().await;
    stage.grow(tenants).await;
    let memory = Memory::new(&stage.server).await;
    let mut body = format!(
        "Reads by primary key, a second, in {tenants} tenants by {CLIENTS} clients on {CONNECTIONS} \
         connections; medians of {rounds} rounds of {LENGTH:?}. Connections are not recycled, so \
         that they hold as many statements as they may; below, the private memory of their server \
         processes.\n\n| drawn | {} |\n|---|{}\n",
        KEPT.map(|kept| format!("{kept} statements kept")).join(" | "),
        "---|".repeat(KEPT.len()),
    );
    let url = stage.server.url("postgres");
    let open = KEPT.map(|statement_cache| {
        let config = config(&url, &format!("prepared_{statement_cache}"), CONNECTIONS);
        let config = Config { statement_cache, recycle_after: 0, ..config };
        async move { Tenancy::connect(&config).await.unwrap() }
    });
    let tenancies = join_all(open).await;
    let contenders: Vec<Contender> = tenancies.iter().map(handle).collect();
    for contender in &contenders {
        warm(contender, &stage.tenants, WARM).await;
    }
    for drawn in [Drawn::Zipf, Drawn::Uniform] {
        let works: Vec<_> = contenders.iter().map(|one| drawn.reads(one, &stage.tenants)).collect();
        let ran = Rounds::of(&works, CLIENTS, LENGTH, rounds).await;
        let rates = (0..KEPT.len()).map(|who| format!("{:.0}", ran.rate(who)));
        let rates = rates.collect::<Vec<_>>().join(" | ");
        writeln!(body, "| {} | {rates} |", drawn.name()).unwrap();
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
    page::write("prepared-statements", "Prepared statements", stage.server.version(), &body);
    stage.stop().await;
}
