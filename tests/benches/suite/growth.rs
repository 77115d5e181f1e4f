//! Throughput of reads by primary key as the number of tenants grows. Writes its section of
//! `docs/BENCHMARKS.md` and its plot, `docs/growth.svg`.
//!
//! Environment variables: `TENANTS` (the largest number, 10,000), `ROUNDS` (7), `WARM` (reads of
//! each contender in every tenant before it is measured, 4).

mod plot;

use std::time::Duration;

use crate::common::page;
use crate::contenders::{
    Contender, by_hand, handle,
    job::Operation,
    pools, raw_prepared, session, set_local,
    setup::{Setup, tenancy},
};
use crate::distributions::{Distribution, warm};
use crate::interleaved::{Rounds, number};
use crate::processes::{self, Memory};
use crate::workload::Workload;
use plot::Plot;

const LENGTH: Duration = Duration::from_millis(250);
const CONNECTIONS: u32 = 8;
const CLIENTS: usize = CONNECTIONS as usize;
/// Maximum number of connections of all pools of one contender.
const MOST: usize = 200;

// Indexes of the contenders of a round.
const ALONE: usize = 0;
const HANDLE: usize = 1;
const RAW: usize = 2;
const SET_LOCAL: usize = 3;
const SESSION: usize = 4;
const BY_HAND: usize = 5;
const POOLS: usize = 6;

pub async fn run() {
    let (last, rounds, passes) =
        (number("TENANTS", 10_000), number("ROUNDS", 7), number("WARM", 4));
    let mut setup = Setup::new().await;
    let url = setup.server.url("postgres");
    let memory = Memory::new(&setup.server).await;
    let tenancy = tenancy(&url, "handle", CONNECTIONS).await;
    let ours = handle(&tenancy);
    let alone = pools(&url, &setup.tenants, CONNECTIONS).await;
    let rivals = [
        raw_prepared(&url, CONNECTIONS).await,
        set_local(&url, CONNECTIONS).await,
        session(&url, CONNECTIONS).await,
        by_hand(&url, CONNECTIONS).await,
    ];
    let (mut speed, mut used) = (String::new(), String::new());
    let mut plot = Plot::default();
    let mut grown = 0.0;
    let mut sizes: Vec<usize> = (0..).map(|n| 10_usize.pow(n)).take_while(|n| *n < last).collect();
    sizes.push(last);
    for size in sizes {
        setup.grow(size).await;
        let tenants = &setup.tenants;
        let before = processes::own();
        warm(&ours, tenants, passes, Workload::Reads).await;
        grown += processes::own() - before;
        let mut others: Vec<&Contender> = rivals.iter().collect();
        let each = (MOST / size).min(CLIENTS) as u32;
        let many = if each > 0 { Some(pools(&url, tenants, each).await) } else { None };
        others.extend(&many);
        for other in &others {
            warm(other, tenants, passes, Workload::Reads).await;
        }
        for distribution in distributions(size) {
            let mut works =
                vec![distribution.reads(&alone, &tenants[..1]), distribution.reads(&ours, tenants)];
            works.extend(others.iter().map(|other| distribution.reads(other, tenants)));
            let ran = Rounds::of(&works, CLIENTS, LENGTH, rounds).await;
            plot.add("raw", distribution, size, ran.rate(RAW));
            plot.add("handle", distribution, size, ran.rate(HANDLE));
            plot.add("session SET", distribution, size, ran.rate(SESSION));
            plot.add("SET LOCAL", distribution, size, ran.rate(SET_LOCAL));
            speed += &speed_row(&ran, distribution, size, many.is_some());
        }
        used += &memory_row(&memory, size, grown, many.is_some()).await;
        if let Some(many) = many {
            many.close().await;
        }
    }
    plot.write(&page::root().join("docs/growth.svg"));
    let body = format!(
        "The operation is \"{operation}\", in tenants drawn uniformly or by Zipf (s = 1), by \
         {CLIENTS} clients on {CONNECTIONS} connections; medians of {rounds} rounds of {LENGTH:?}, \
         after each contender has been in every tenant {passes} times. Raw is tokio-postgres, \
         pipelined, a tenant always on the same connection and all statements prepared. SeaORM \
         alone stays in 1 tenant. \"By hand\" is sqlx with qualified SQL on one pool. A pool per \
         tenant has up to {CLIENTS} connections for each and {MOST} together; beyond {MOST} tenants \
         the server ({limit} connections) does not let it be.\n\n![Growth](growth.svg)\n\n\
         | tenants | drawn | handle | ÷ raw | ÷ SeaORM alone | ÷ `SET LOCAL` | ÷ session `SET` \
         | ÷ by hand | pool per tenant ÷ handle |\n|---|---|---|---|---|---|---|---|---|\n{speed}\n\
         Private memory of the server's processes for each contender's connections, and by how much \
         our own process grew while the handle was in every tenant:\n\n\
         | tenants | handle | raw | by hand | `SET LOCAL` | session `SET` | pool per tenant \
         | handle ÷ by hand | ours |\n|---|---|---|---|---|---|---|---|---|\n{used}",
        operation = Operation::Read.name(),
        limit = memory.connections().await,
    );
    page::write("growth", "From 1 tenant to many", setup.server.version(), &body);
    for rival in rivals.into_iter().chain([alone]) {
        rival.close().await;
    }
    tenancy.close().await;
    memory.close().await;
    setup.stop().await;
}

/// With one tenant both distributions are the same.
fn distributions(tenants: usize) -> Vec<Distribution> {
    if tenants == 1 {
        vec![Distribution::Uniform]
    } else {
        vec![Distribution::Uniform, Distribution::Zipf]
    }
}

fn speed_row(ran: &Rounds, distribution: Distribution, tenants: usize, pools: bool) -> String {
    let ratios = [RAW, ALONE, SET_LOCAL, SESSION, BY_HAND]
        .map(|other| format!("{:.2}", ran.ratio(HANDLE, other)))
        .join(" | ");
    let pools = match pools {
        true => format!("{:.2}", ran.ratio(POOLS, HANDLE)),
        false => "too many connections".to_owned(),
    };
    let (name, rate) = (distribution.name(), ran.rate(HANDLE));
    format!("| {tenants} | {name} | {rate:.0}/s | {ratios} | {pools} |\n")
}

async fn memory_row(memory: &Memory, tenants: usize, ours: f64, pools: bool) -> String {
    let (handle, by_hand) = (memory.of("handle").await, memory.of("by_hand").await);
    let ratio = match handle / by_hand {
        ratio if tenants < 10_000 => format!("{ratio:.2}"),
        ratio if ratio > 1.0 / 3.0 => format!("**{ratio:.2}**, goal ≤ 0.33 missed"),
        ratio => format!("{ratio:.2}, goal ≤ 0.33"),
    };
    let pools = if pools { format!("{:.0} MiB", memory.of("pools").await) } else { String::new() };
    format!(
        "| {tenants} | {handle:.0} MiB | {:.0} MiB | {by_hand:.0} MiB | {:.0} MiB | {:.0} MiB | {pools} \
         | {ratio} | {ours:+.1} MiB |\n",
        memory.of("raw_prepared").await,
        memory.of("set_local").await,
        memory.of("session").await,
    )
}
