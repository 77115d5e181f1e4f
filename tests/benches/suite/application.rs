//! The requests of an application, whose statements no cache holds, against a raw client without
//! prepared statements. Writes its section of `docs/BENCHMARKS.md`.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (7), `WARM` (requests of each contender in
//! every tenant before it is measured, 4), `DELAY` (of the network, in microseconds, 1,000).

use std::{fmt::Write, time::Duration};

use tenantry::Tenancy;

use crate::common::page;
use crate::contenders::{handle, raw_unprepared, set_local, setup::Setup};
use crate::distributions::{Distribution, warm};
use crate::interleaved::{Rounds, against, number};
use crate::network::delay;
use crate::workload::Workload;

const LENGTH: Duration = Duration::from_millis(400);
const CONNECTIONS: u32 = 8;

// Indexes of the contenders of a round.
const RAW: usize = 0;
const HANDLE: usize = 1;
const SET_LOCAL: usize = 2;

pub async fn run() {
    let (tenants, rounds, passes) =
        (number("TENANTS", 10_000), number("ROUNDS", 7), number("WARM", 4));
    let delay = Duration::from_micros(number("DELAY", 1000) as u64);
    let mut setup = Setup::of(Workload::Application).await;
    setup.grow(tenants).await;
    let socket = setup.server.url("postgres");
    let network = delay::proxy(setup.server.socket_dir().join(".s.PGSQL.5432"), delay);
    let mut body = format!(
        "25 statements over 6 tables of each of {tenants} tenants. Of five requests four are one \
         statement that reads, and one is a transaction of three statements, most of which write; \
         requests per second on {CONNECTIONS} connections, medians of {rounds} rounds of {LENGTH:?}, \
         after {passes} requests of each contender in every tenant. Raw is tokio-postgres with \
         nothing prepared: one round trip for a statement, pipelined, a tenant always on the same \
         connection, unless transactions, which have a connection for themselves, queue for it.\n\n\
         | over | clients | drawn | raw | handle | handle ÷ raw | handle ÷ `SET LOCAL` |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (over, url) in [("Unix socket", socket), (&format!("{delay:?} of network"), network)] {
        let tenancy = Tenancy::connect(&setup.config(&url, "handle", CONNECTIONS)).await.unwrap();
        let contenders = [
            raw_unprepared(&url, CONNECTIONS).await,
            handle(&tenancy),
            set_local(&url, CONNECTIONS).await,
        ];
        for contender in &contenders {
            warm(contender, &setup.tenants, passes, Workload::Application).await;
        }
        for clients in [8, 64] {
            for distribution in [Distribution::Uniform, Distribution::Zipf] {
                let work = |one| distribution.work(one, &setup.tenants, Workload::Application);
                let ran =
                    Rounds::of(&contenders.each_ref().map(work), clients, LENGTH, rounds).await;
                writeln!(
                    body,
                    "| {over} | {clients} | {} | {:.0}/s | {:.0}/s | {} | {} |",
                    distribution.name(),
                    ran.rate(RAW),
                    ran.rate(HANDLE),
                    against(ran.ratio(HANDLE, RAW), 0.6),
                    against(ran.ratio(HANDLE, SET_LOCAL), 3.0),
                )
                .unwrap();
            }
        }
        for contender in contenders {
            contender.close().await;
        }
        tenancy.close().await;
    }
    page::write("application", "An application", setup.server.version(), &body);
    setup.stop().await;
}
