//! A network that fails silently, or a server process that is stopped: no answer and no error.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tenantry::{Config, DbErrorKind, Tenancy, Tenant};
use tokio::time::{Instant, sleep, timeout};

use super::{Fixture, pid};
use crate::support::{database::admin, slug, tcp_proxy::TcpProxy};

/// Maximum of a single wait: one statement with its margin.
const BOUND: Duration = Duration::from_secs(20);

/// Tenants over a TCP proxy.
struct Far {
    tenants: Vec<Tenant>,
    tenancy: Tenancy,
    wire: TcpProxy,
    // Dropped last, with its database.
    near: Fixture,
}

impl Far {
    async fn new(tenants: usize, connections: u32) -> Self {
        let near = Fixture::new(tenants, |_| {}).await;
        let wire = TcpProxy::new().await;
        let config = Config {
            connect_options: wire.url(near.db.name()).into(),
            max_connections: connections,
            // The first tenant opens all connections.
            tenant_share: 100,
            reserved_connections: 0,
            statement_timeout: Some(Duration::from_secs(1)),
            ..near.db.config()
        };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let mut handles = Vec::new();
        for n in 1..=tenants {
            handles.push(tenancy.tenant(&slug(&format!("tenant-{n}"))).await.unwrap());
        }
        Self { tenants: handles, tenancy, wire, near }
    }

    /// Opens all connections, and returns their server processes.
    async fn pids(&self, count: usize) -> Vec<i32> {
        let held = join_all((0..count).map(|_| self.tenants[0].begin())).await;
        let mut pids = Vec::new();
        for txn in held {
            let txn = txn.unwrap();
            pids.push(pid(&txn).await);
            txn.rollback().await.unwrap();
        }
        pids
    }
}

async fn ask(db: &impl ConnectionTrait) -> Result<(), sea_orm::DbErr> {
    db.execute_raw(Statement::from_string(DbBackend::Postgres, "SELECT 1")).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_of_ten_frozen_connections_are_replaced_in_bounded_time() {
    let it = Far::new(24, 10).await;
    let pids = it.pids(10).await;
    it.wire.freeze(pids[..8].iter().copied());
    let (answers, started) = (AtomicUsize::new(0), Instant::now());
    let clients = it.tenants.iter().map(async |tenant| {
        let mut failed = 0;
        while let Err(error) = timeout(BOUND, ask(tenant)).await.expect("no answer") {
            assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable, "{error}");
            failed += 1;
        }
        answers.fetch_add(1, Ordering::Relaxed);
        failed
    });
    let failed: Vec<usize> = join_all(clients).await;
    // Each frozen connection costs at most one statement.
    assert!(failed.iter().sum::<usize>() <= 8, "{failed:?}");
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
    // All are available again.
    let all = timeout(BOUND, it.pids(10)).await.expect("places are lost");
    assert!(all.iter().all(|pid| !pids[..8].contains(pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_connections_frozen_one_statement_fails_and_the_next_succeeds() {
    let it = Far::new(3, 4).await;
    let pids = it.pids(4).await;
    it.wire.freeze(pids);
    let started = Instant::now();
    for tenant in &it.tenants {
        while timeout(BOUND, ask(tenant)).await.expect("no answer").is_err() {}
    }
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_connection_whose_statement_is_cancelled_frees_its_slot() {
    let it = Far::new(1, 1).await;
    let tenant = &it.tenants[0];
    for round in 0..4 {
        let pids = it.pids(1).await;
        let txn = match round {
            // In a transaction and outside.
            0 | 1 => Some(tenant.begin().await.unwrap()),
            _ => None,
        };
        it.wire.freeze(pids);
        match txn {
            // Only the ROLLBACK gets no answer.
            Some(txn) if round == 0 => drop(txn),
            Some(txn) => drop(timeout(Duration::from_millis(200), ask(&txn)).await),
            None => drop(timeout(Duration::from_millis(200), ask(tenant)).await),
        }
        let next = timeout(Duration::from_secs(10), ask(tenant)).await;
        next.expect("the place is lost").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_transaction_on_a_frozen_connection_has_a_bound() {
    let it = Far::new(1, 2).await;
    let tenant = &it.tenants[0];
    for commit in [true, false] {
        let txn = tenant.begin().await.unwrap();
        ask(&txn).await.unwrap();
        it.wire.freeze([pid(&txn).await]);
        let end = async { if commit { txn.commit().await } else { txn.rollback().await } };
        let error = timeout(BOUND, end).await.expect("no answer").unwrap_err();
        assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable, "{error}");
    }
    // Statements after one without an answer fail at once.
    let txn = tenant.begin().await.unwrap();
    it.wire.freeze([pid(&txn).await]);
    timeout(BOUND, ask(&txn)).await.expect("no answer").unwrap_err();
    timeout(Duration::from_secs(1), ask(&txn)).await.expect("it waited once more").unwrap_err();
    drop(txn);
    assert_eq!(timeout(BOUND, it.pids(2)).await.expect("a place is lost").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_and_shutdown_do_not_wait_for_frozen_connections() {
    let it = Far::new(1, 2).await;
    let pids = it.pids(2).await;
    it.wire.freeze(pids.clone());
    timeout(Duration::from_secs(10), it.tenancy.ping()).await.expect("no answer").unwrap();
    let pids = it.pids(2).await;
    it.wire.freeze(pids);
    timeout(Duration::from_secs(10), it.tenancy.close()).await.expect("it does not close");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_serve_all_tenants_while_none_can_be_opened() {
    let it = Far::new(12, 4).await;
    // The one open connection serves all tenants.
    it.pids(1).await;
    it.wire.freeze_new(true);
    for tenant in &it.tenants {
        let served = timeout(Duration::from_secs(3), ask(tenant)).await;
        served.expect("it waited for a connection of its own").unwrap();
    }
    let all = join_all(it.tenants.iter().map(ask)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    it.wire.freeze_new(false);
    eventually_all(&it, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_serve_all_tenants_while_the_server_refuses_others() {
    let it = Far::new(12, 4).await;
    it.pids(1).await;
    let name = it.near.db.name();
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    for _ in 0..3 {
        let all = join_all(it.tenants.iter().map(ask)).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    // Also requests that have to wait for it.
    let busy = Statement::from_string(DbBackend::Postgres, "SELECT pg_sleep(0.5)");
    let busy = it.tenants[0].execute_raw(busy);
    let others = async {
        sleep(Duration::from_millis(50)).await;
        ask(&it.tenants[1]).await
    };
    let (busy, others) = tokio::join!(busy, others);
    busy.unwrap();
    others.unwrap();
    admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    eventually_all(&it, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_process_costs_one_statement() {
    let it = Far::new(2, 1).await;
    let stopped = Pid::from_raw(pid(&it.tenants[0]).await);
    kill(stopped, Signal::SIGSTOP).unwrap();
    let started = Instant::now();
    let first = timeout(BOUND, ask(&it.tenants[0])).await;
    let second = timeout(BOUND, ask(&it.tenants[1])).await;
    kill(stopped, Signal::SIGCONT).unwrap();
    first.expect("no answer").unwrap_err();
    second.expect("no answer").unwrap();
    assert!(started.elapsed() < BOUND);
}

/// Waits until this number of connections is available at once.
async fn eventually_all(it: &Far, count: usize) {
    let all = timeout(BOUND, async {
        loop {
            let held = join_all((0..count).map(|_| it.tenants[0].begin())).await;
            if held.iter().all(Result::is_ok) {
                return;
            }
        }
    });
    assert!(all.await.is_ok(), "places are lost");
}
