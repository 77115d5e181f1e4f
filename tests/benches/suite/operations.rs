//! The cost of the tenant handle: six operations in one tenant, compared with the other contenders.
//! Writes its section of `docs/BENCHMARKS.md`.
//!
//! Environment variable: `ROUNDS` (21).

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::common::page;
use crate::contenders::{
    Contender, by_hand, handle,
    job::{Job, Operation},
    pools, raw_prepared, session, set_local,
    setup::{GUARDS, Setup, tenancy},
};
use crate::interleaved::{Rounds, Work, against, number};

const LENGTH: Duration = Duration::from_millis(120);
const CONNECTIONS: u32 = 8;

pub async fn run() {
    let rounds = number("ROUNDS", 21);
    let setup = Setup::new().await;
    let (url, tenants) = (&setup.server.url("postgres"), &setup.tenants);
    let tenancy = tenancy(url, "handle", CONNECTIONS).await;
    let contenders = [
        pools(url, tenants, CONNECTIONS).await,
        handle(&tenancy),
        set_local(url, CONNECTIONS).await,
        session(url, CONNECTIONS).await,
        pools(url, tenants, CONNECTIONS).await,
        by_hand(url, CONNECTIONS).await,
        raw_prepared(url, CONNECTIONS).await,
    ];
    let mut body = format!(
        "{CONNECTIONS} clients in one tenant, each contender with {CONNECTIONS} connections of its \
         own; medians of {rounds} rounds of {LENGTH:?}. Alone is SeaORM without tenancy on one \
         schema. The handle is asked for on each call. A pool per tenant is, with one tenant, just \
         the same as alone: its column shows how exact the run is. Raw is tokio-postgres with all \
         statements prepared; its clients share one connection, and each transaction has one for \
         itself.\n\n\
         | operation | alone | handle ÷ alone | handle ÷ raw | handle ÷ `SET LOCAL` | `SET LOCAL` ÷ alone \
         | session `SET` ÷ alone | pool per tenant ÷ alone | sqlx by hand ÷ alone |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for operation in Operation::SINGLE.into_iter().chain([Operation::Transaction]) {
        let works = contenders.each_ref().map(|contender| in_first(contender, &setup, operation));
        let ran = Rounds::of(&works, CONNECTIONS as usize, LENGTH, rounds).await;
        let several = operation == Operation::Transaction;
        writeln!(
            body,
            "| {} | {:.0}/s | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            operation.name(),
            ran.rate(0),
            against(ran.ratio(1, 0), 0.97),
            match operation {
                Operation::Read => against(ran.ratio(1, 6), 0.7),
                _ => format!("{:.2}", ran.ratio(1, 6)),
            },
            against(ran.ratio(1, 2), if several { 1.2 } else { 2.0 }),
            ran.ratio(2, 0),
            ran.ratio(3, 0),
            ran.ratio(4, 0),
            ran.ratio(5, 0),
        )
        .unwrap();
    }
    page::write("operations", "The handle, one tenant", setup.server.version(), &body);
    for contender in contenders {
        contender.close().await;
    }
    tenancy.close().await;
    setup.stop().await;
}

/// The operation on the guards of the first tenant in sequence.
fn in_first(contender: &Contender, setup: &Setup, operation: Operation) -> Work {
    let (tenant, next) = (Arc::clone(&setup.tenants[0]), AtomicUsize::new(0));
    contender.work(move |client| Job {
        operation,
        tenant: Arc::clone(&tenant),
        row: next.fetch_add(1, Ordering::Relaxed) % GUARDS,
        client,
    })
}
