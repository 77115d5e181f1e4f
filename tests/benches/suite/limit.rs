//! Reads by primary key in many tenants against what the server can do. Writes its section of
//! `docs/BENCHMARKS.md`.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (7), `WARM` (reads of each contender in every
//! tenant before it is measured, 4).

use std::{fmt::Write, time::Duration};

use crate::common::page;
use crate::contenders::{
    handle,
    job::Operation,
    pools, raw_prepared, raw_unprepared, set_local,
    setup::{Setup, tenancy},
};
use crate::distributions::{Distribution, warm};
use crate::interleaved::{Rounds, against, number};
use crate::workload::Workload;

const LENGTH: Duration = Duration::from_millis(250);
const CONNECTIONS: u32 = 8;

// Indexes of the contenders of a round.
const RAW: usize = 0;
const UNPREPARED: usize = 1;
const HANDLE: usize = 2;
const SET_LOCAL: usize = 3;
const RAW_IN_ONE: usize = 4;
const HANDLE_IN_ONE: usize = 5;
const ALONE: usize = 6;

pub async fn run() {
    let (tenants, rounds, passes) =
        (number("TENANTS", 10_000), number("ROUNDS", 7), number("WARM", 4));
    let mut setup = Setup::new().await;
    setup.grow(tenants).await;
    let url = setup.server.url("postgres");
    let tenancy = tenancy(&url, "handle", CONNECTIONS).await;
    let contenders = [
        raw_prepared(&url, CONNECTIONS).await,
        raw_unprepared(&url, CONNECTIONS).await,
        handle(&tenancy),
        set_local(&url, CONNECTIONS).await,
    ];
    let alone = pools(&url, &setup.tenants[..1], CONNECTIONS).await;
    for contender in &contenders {
        warm(contender, &setup.tenants, passes, Workload::Reads).await;
    }
    let mut body = format!(
        "The operation is \"{}\", in {tenants} tenants on {CONNECTIONS} connections; medians of \
         {rounds} rounds of {LENGTH:?}, after each contender has been in every tenant {passes} times. \
         The limit is a raw client (tokio-postgres): a tenant always on the same connection, \
         pipelined, every statement of every tenant prepared once and kept. All other columns are \
         ratios to it. Nothing prepared: the same, with the text of every statement, in one round \
         trip.\n\n\
         | clients | drawn | limit | nothing prepared | handle | `SET LOCAL` | limit in 1 tenant \
         | handle in 1 tenant | SeaORM alone in 1 tenant |\n|---|---|---|---|---|---|---|---|---|\n",
        Operation::Read.name(),
    );
    for clients in [8, 64] {
        for distribution in [Distribution::Uniform, Distribution::Zipf] {
            let mut works: Vec<_> =
                contenders.iter().map(|one| distribution.reads(one, &setup.tenants)).collect();
            let in_one = [&contenders[RAW], &contenders[HANDLE], &alone];
            works.extend(in_one.map(|one| distribution.reads(one, &setup.tenants[..1])));
            let ran = Rounds::of(&works, clients, LENGTH, rounds).await;
            let [unprepared, set_local, raw_in_one, handle_in_one, alone] =
                [UNPREPARED, SET_LOCAL, RAW_IN_ONE, HANDLE_IN_ONE, ALONE]
                    .map(|one| ran.ratio(one, RAW));
            writeln!(
                body,
                "| {clients} | {} | {:.0}/s | {unprepared:.2} | {} | {set_local:.2} \
                 | {raw_in_one:.2} | {handle_in_one:.2} | {alone:.2} |",
                distribution.name(),
                ran.rate(RAW),
                beside_goal(ran.ratio(HANDLE, RAW), tenants, clients, distribution),
            )
            .unwrap();
        }
    }
    page::write("limit", "Near the limit", setup.server.version(), &body);
    for contender in contenders.into_iter().chain([alone]) {
        contender.close().await;
    }
    tenancy.close().await;
    setup.stop().await;
}

/// The goals apply to ten thousand tenants.
fn beside_goal(ratio: f64, tenants: usize, clients: usize, distribution: Distribution) -> String {
    match (clients, distribution) {
        _ if tenants < 10_000 => format!("{ratio:.2}"),
        (64, Distribution::Uniform) => against(ratio, 0.45),
        (64, Distribution::Zipf) => against(ratio, 0.5),
        _ => against(ratio, 0.4),
    }
}
