//! What other tenants notice of one that keeps all connections busy: how long their reads take
//! while a tenant has many clients that send `pg_sleep`, and while it has none. Writes its section
//! of `docs/BENCHMARKS.md`.
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
        setup::{Stage, config},
    },
    distributions::{Drawn, warm},
    interleaved::{Work, number},
};

const LENGTH: Duration = Duration::from_secs(2);
const CONNECTIONS: u32 = 10;
const CLIENTS: usize = 4;
const TENANTS: usize = 50;
const SLOW: &str = "SELECT pg_sleep(0.5)";

pub async fn run() {
    let (rounds, slow) = (number("ROUNDS", 9), number("SLOW", 64));
    let mut stage = Stage::new().await;
    stage.grow(TENANTS + 1).await;
    let url = stage.server.url("postgres");
    let defaults = Config::new("", migration::Migrator);
    let config = Config {
        tenant_share: defaults.tenant_share,
        reserved_connections: defaults.reserved_connections,
        ..config(&url, "handle", CONNECTIONS)
    };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let (ours, pool) = (handle(&tenancy), by_hand(&url, CONNECTIONS).await);
    let others = &stage.tenants[1..];
    let mut rows = String::new();
    let through_handle = || {
        let (tenancy, slug) = (tenancy.clone(), stage.tenants[0].slug.clone());
        spawn(slow, move || {
            let (tenancy, slug) = (tenancy.clone(), slug.clone());
            async move {
                let tenant = tenancy.tenant(&slug).await.unwrap();
                let slow = Statement::from_string(DbBackend::Postgres, SLOW);
                // Those that wait for too long are refused.
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
    page::write("fairness", "Beside a slow tenant", stage.server.version(), &body);
    ours.close().await;
    pool.close().await;
    tenancy.close().await;
    stage.stop().await;
}

/// How long reads took, in milliseconds: idle, and beside the slow tenant.
async fn measure(
    contender: &Contender,
    tenants: &[Arc<crate::contenders::job::Named>],
    rounds: usize,
    slow: impl Fn() -> Vec<JoinHandle<()>>,
) -> [Vec<f64>; 2] {
    warm(contender, tenants, 3).await;
    let reads = Drawn::Uniform.reads(contender, tenants);
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        took[0].extend(times(&reads).await);
        let tasks = slow();
        // Until it has all the connections that it gets.
        tokio::time::sleep(Duration::from_millis(200)).await;
        took[1].extend(times(&reads).await);
        tasks.iter().for_each(JoinHandle::abort);
        // The server ends what was given up within a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    took
}

async fn times(work: &Work) -> Vec<f64> {
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let work = Arc::clone(work);
        tokio::spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < LENGTH {
                let begun = Instant::now();
                work(client).await;
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            took
        })
    });
    join_all(clients).await.into_iter().flat_map(Result::unwrap).collect()
}

/// So many clients that do `work` until they are aborted.
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
