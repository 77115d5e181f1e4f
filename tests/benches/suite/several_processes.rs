//! Several processes that serve all tenants, each over connections of its own. Writes its section of
//! `docs/BENCHMARKS.md`.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (3), `WARM` (reads of each process in every
//! tenant before it is measured, 1).

mod worker;

use std::fmt::Write;

use crate::common::page;
use crate::contenders::setup::Setup;
use crate::distributions::Distribution;
use crate::interleaved::{Rounds, number};
use crate::processes::Memory;
use worker::{CLIENTS, CONNECTIONS, LENGTH, Rival, Worker};
pub use worker::{is_worker, work};

const PROCESSES: usize = 4;

pub async fn run() {
    let (tenants, rounds) = (worker::tenants(), number("ROUNDS", 3));
    let mut setup = Setup::new().await;
    setup.grow(tenants).await;
    let memory = Memory::new(&setup.server).await;
    let url = setup.server.url("postgres");
    let distributions = [Distribution::Uniform, Distribution::Zipf];
    let mut rates = [(); 2].map(|()| vec![Vec::new(); Rival::ALL.len()]);
    let mut used = [0.0; Rival::ALL.len()];
    for round in 0..rounds {
        for turn in 0..Rival::ALL.len() {
            let who = (turn + round) % Rival::ALL.len();
            let mut workers: Vec<_> = (0..PROCESSES)
                .map(|process| Worker::start(Rival::ALL[who], process, &url))
                .collect();
            workers.iter_mut().for_each(Worker::ready);
            for (distribution, rates) in distributions.into_iter().zip(&mut rates) {
                workers.iter_mut().for_each(|worker| worker.begin(distribution));
                rates[who].push(workers.iter_mut().map(Worker::rate).sum());
            }
            used[who] = memory.of(Rival::ALL[who].name()).await;
        }
    }
    let mut body = format!(
        "{PROCESSES} processes with {CONNECTIONS} connections and {CLIENTS} clients each read by \
         primary key in the same {tenants} tenants. The server allows {} connections, so each \
         contender's processes start, read {} times in every tenant, are measured for {LENGTH:?} and \
         end, before the next contender's; medians of {rounds} rounds. Raw is tokio-postgres, \
         pipelined, a tenant always on the same connection of its process and all statements \
         prepared. Memory is the private memory of the server's processes at the end.\n\n\
         | drawn | raw | handle | handle ÷ raw | handle ÷ `SET LOCAL` |\n|---|---|---|---|---|\n",
        memory.connections().await,
        worker::passes(),
    );
    for (distribution, rates) in distributions.into_iter().zip(rates) {
        let ran = Rounds(rates);
        writeln!(
            body,
            "| {} | {:.0}/s | {:.0}/s | {:.2} | {:.2} |",
            distribution.name(),
            ran.rate(Rival::Raw as usize),
            ran.rate(Rival::Handle as usize),
            ran.ratio(Rival::Handle as usize, Rival::Raw as usize),
            ran.ratio(Rival::Handle as usize, Rival::SetLocal as usize),
        )
        .unwrap();
    }
    let [raw, handle, set_local] = used;
    writeln!(
        body,
        "| memory | {raw:.0} MiB | {handle:.0} MiB | {:.2} | {:.2} |",
        handle / raw,
        handle / set_local
    )
    .unwrap();
    memory.close().await;
    page::write("several-processes", "Several processes", setup.server.version(), &body);
    setup.stop().await;
}
