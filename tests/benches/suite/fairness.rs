//! Latency of reads in other tenants while one tenant has many clients that send `pg_sleep`, and
//! while it has none. Writes its section of `docs/BENCHMARKS.md`.
//!
//! Environment variables: `ROUNDS` (9), `SLOW` (clients of the slow tenant, 64).

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement, sqlx};
use tenantry::{Config, Tenancy};
use tokio::task::JoinHandle;

use crate::{
    common::{page, quantile},
    contenders::{
        Contender, by_hand, handle,
        setup::{Setup, config},
    },
    distributions::{Distribution, warm},
    interleaved::{Work, number},
    workload::Workload,
};

const LENGTH: Duration = Duration::from_secs(2);
const CONNECTIONS: u32 = 10;
const CLIENTS: usize = 4;
const TENANTS: usize = 50;
const SLOW: &str = "SELECT pg_sleep(0.5)";

pub async fn run() {
    let (rounds, slow) = (number("ROUNDS", 9), number("SLOW", 64));
    let mut setup = Setup::new().await;
    setup.grow(TENANTS + 1).await;
    let url = setup.server.url("postgres");
    let defaults = Config::new("", migration::Migrator);
    let config = Config {
        tenant_share: defaults.tenant_share,
        reserved_connections: defaults.reserved_connections,
        ..config(&url, "handle", CONNECTIONS)
    };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let (ours, pool) = (handle(&tenancy), by_hand(&url, CONNECTIONS).await);
    let others = &setup.tenants[1..];
    let mut rows = String::new();
    let through_handle = || {
        let (tenancy, slug) = (tenancy.clone(), setup.tenants[0].slug.clone());
        spawn(slow, move || {
            let (tenancy, slug) = (tenancy.clone(), slug.clone());
            async move {
                let tenant = tenancy.tenant(&slug).await.unwrap();
                let slow = Statement::from_string(DbBackend::Postgres, SLOW);
                // Some are refused, since too many wait.
                drop(tenant.execute_raw(slow).await);
            }
        })
    };
    rows += &row("handle", &measure(&ours, others, rounds, through_handle).await, Some(3.0));
    let sqlx = pool.sqlx();
    let through_pool = || {
        let sqlx = sqlx.clone();
        spawn(slow, move || {
            let sqlx = sqlx.clone();
            async move { drop(sqlx::query(SLOW).execute(&sqlx).await) }
        })
    };
    rows += &row("sqlx by hand", &measure(&pool, others, rounds, through_pool).await, None);
    let body = format!(
        "{CLIENTS} clients read by primary key in {TENANTS} tenants, drawn uniformly, on \
         {CONNECTIONS} connections, while another tenant has no clients and while it has {slow} \
         that execute `{SLOW}` again and again; {rounds} rounds of {LENGTH:?} of each, in turn. By \
         hand, all tenants share one pool of sqlx without tenancy.\n\n\
         | reads | idle p50 | idle p99 | beside the slow tenant p50 | p99 | p99 ÷ idle p99 |\n\
         |---|---|---|---|---|---|\n{rows}"
    );
    page::write("fairness", "Beside a slow tenant", setup.server.version(), &body);
    ours.close().await;
    pool.close().await;
    tenancy.close().await;
    setup.stop().await;
}

/// Durations of reads in milliseconds: without and with the slow tenant.
async fn measure(
    contender: &Contender,
    tenants: &[Arc<crate::contenders::job::Named>],
    rounds: usize,
    slow: impl Fn() -> Vec<JoinHandle<()>>,
) -> [Vec<f64>; 2] {
    warm(contender, tenants, 3, Workload::Reads).await;
    let reads = Distribution::Uniform.reads(contender, tenants);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        took[0].extend(times(&reads).await);
        let tasks = slow();
        // Until it has its share of connections.
        tokio::time::sleep(Duration::from_millis(200)).await;
        took[1].extend(times(&reads).await);
        tasks.iter().for_each(JoinHandle::abort);
        // The server ends the cancelled statements within a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    took
}

async fn times(work: &Work) -> Vec<f64> {
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let work = Arc::clone(work);
        tokio::spawn(async move {
            let mut took = Vec::new();
            while started.elapsed() < LENGTH {
                let started = Instant::now();
                work(client).await;
                took.push(started.elapsed().as_secs_f64() * 1000.0);
            }
            took
        })
    });
    join_all(clients).await.into_iter().flat_map(Result::unwrap).collect()
}

/// Clients that repeat `work` until they are aborted.
fn spawn<F>(clients: usize, work: impl Fn() -> F + Clone + Send + 'static) -> Vec<JoinHandle<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let client = |_| {
        let work = work.clone();
        tokio::spawn(async move {
            loop {
                work().await;
            }
        })
    };
    (0..clients).map(client).collect()
}

fn row(name: &str, [idle, slow]: &[Vec<f64>; 2], goal: Option<f64>) -> String {
    let ratio = quantile(slow, 0.99) / quantile(idle, 0.99);
    let ratio = match goal {
        Some(goal) if ratio > goal => format!("**{ratio:.2}**, goal ≤ {goal} missed"),
        Some(goal) => format!("{ratio:.2}, goal ≤ {goal}"),
        None => format!("{ratio:.0}"),
    };
    let mut text = format!("| {name} |");
    for times in [idle, slow] {
        let [p50, p99] = [0.5, 0.99].map(|share| quantile(times, share));
        write!(text, " {p50:.2} ms | {p99:.2} ms |").unwrap();
    }
    text + &format!(" {ratio} |\n")
}
