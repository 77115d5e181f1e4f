//! Settings of the handle compared on both workloads: plans for any values or for given ones, and
//! how statements are sent that are not kept prepared. Writes its section of `docs/BENCHMARKS.md`.
//!
//! Environment variables: `TENANTS` (10,000), `ROUNDS` (5), `WARM` (operations of each contender in
//! every tenant before it is measured, 4), `DELAY` (of the network, in microseconds, 1,000).

use std::{fmt::Write, time::Duration};

use futures_util::future::join_all;
use tenantry::{ColdStatements, Config, PlanCacheMode, Tenancy};

use crate::common::page;
use crate::contenders::{Contender, handle, raw_prepared, raw_unprepared, setup::Setup};
use crate::distributions::{Distribution, warm};
use crate::interleaved::{Rounds, number};
use crate::network::delay;
use crate::processes::Memory;
use crate::workload::Workload;

const LENGTH: Duration = Duration::from_millis(300);
const CONNECTIONS: u32 = 8;

/// Values of `plan_cache_mode` and of `cold_statements`.
type Variant = (PlanCacheMode, ColdStatements);

const VARIANTS: [Variant; 4] = [
    (PlanCacheMode::Auto, ColdStatements::Literal),
    (PlanCacheMode::ForceGeneric, ColdStatements::Literal),
    (PlanCacheMode::Auto, ColdStatements::Prepared),
    (PlanCacheMode::ForceGeneric, ColdStatements::Prepared),
];

pub async fn run() {
    let (tenants, rounds, passes) =
        (number("TENANTS", 10_000), number("ROUNDS", 5), number("WARM", 4));
    let delay = Duration::from_micros(number("DELAY", 1000) as u64);
    let mut rows = String::new();
    let mut version = 0;
    for workload in [Workload::Reads, Workload::Application] {
        let mut setup = Setup::of(workload).await;
        setup.grow(tenants).await;
        version = setup.server.version();
        let memory = Memory::new(&setup.server).await;
        let socket = setup.server.url("postgres");
        let network = delay::proxy(setup.server.socket_dir().join(".s.PGSQL.5432"), delay);
        for (over, url, clients) in
            [("Unix socket", socket, 64), (&format!("{delay:?} of network"), network, 8)]
        {
            let tenancies = tenancies(&setup, &url).await;
            let contenders: Vec<_> = [raw(workload, &url).await]
                .into_iter()
                .chain(tenancies.iter().map(handle))
                .collect();
            for contender in &contenders {
                warm(contender, &setup.tenants, passes, workload).await;
            }
            for distribution in [Distribution::Uniform, Distribution::Zipf] {
                let work = |one| distribution.work(one, &setup.tenants, workload);
                let works: Vec<_> = contenders.iter().map(work).collect();
                let ran = Rounds::of(&works, clients, LENGTH, rounds).await;
                let ratios = (1..works.len()).map(|one| format!("{:.2}", ran.ratio(one, 0)));
                let (workload, distribution) = (workload.name(), distribution.name());
                let (raw, ratios) = (ran.rate(0), ratios.collect::<Vec<_>>().join(" | "));
                writeln!(
                    rows,
                    "| {workload} | {over}, {clients} clients | {distribution} | {raw:.0}/s \
                     | {ratios} |"
                )
                .unwrap();
            }
            rows += &memory_row(&memory, workload, over).await;
            for contender in contenders {
                contender.close().await;
            }
            for tenancy in tenancies {
                tenancy.close().await;
            }
        }
        memory.close().await;
        setup.stop().await;
    }
    let body = format!(
        "The handle with each setting ÷ a raw client (tokio-postgres, pipelined, a tenant always on \
         the same connection), in {tenants} tenants on {CONNECTIONS} connections; medians of {rounds} \
         rounds of {LENGTH:?}, after {passes} operations of each contender in every tenant. For reads \
         the raw client has all statements prepared, for the application none. Auto and generic plans \
         are values of `plan_cache_mode`; literals and prepared say how statements are sent that are \
         not kept. Below, the private memory of the server's processes.\n\n\
         | workload | over | drawn | raw | {} |\n|---|---|---|---|{}\n{rows}",
        VARIANTS.map(column).join(" | "),
        "---|".repeat(VARIANTS.len()),
    );
    page::write("settings", "Plans and cold statements", version, &body);
}

async fn tenancies(setup: &Setup, url: &str) -> Vec<Tenancy> {
    let open = VARIANTS.iter().enumerate().map(|(number, variant)| async move {
        let (plan_cache_mode, cold_statements) = *variant;
        let config = setup.config(url, &name(number), CONNECTIONS);
        let config = Config { plan_cache_mode, cold_statements, ..config };
        Tenancy::connect(&config).await.unwrap()
    });
    join_all(open).await
}

fn column((plans, cold): Variant) -> String {
    let plans = if plans == PlanCacheMode::Auto { "auto" } else { "generic plans" };
    let cold = if cold == ColdStatements::Literal { "literals" } else { "prepared" };
    format!("{plans}, {cold}")
}

/// The `application_name` of a variant.
fn name(variant: usize) -> String {
    format!("variant_{variant}")
}

async fn raw(workload: Workload, url: &str) -> Contender {
    match workload {
        Workload::Reads => raw_prepared(url, CONNECTIONS).await,
        Workload::Application => raw_unprepared(url, CONNECTIONS).await,
    }
}

async fn memory_row(memory: &Memory, workload: Workload, over: &str) -> String {
    let raw = match workload {
        Workload::Reads => "raw_prepared",
        Workload::Application => "raw_unprepared",
    };
    let mut used = vec![format!("{:.0} MiB", memory.of(raw).await)];
    for variant in 0..VARIANTS.len() {
        used.push(format!("{:.0} MiB", memory.of(&name(variant)).await));
    }
    format!("| {} | {over} | memory | {} |\n", workload.name(), used.join(" | "))
}
