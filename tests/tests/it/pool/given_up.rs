//! Statements that take too long or are cancelled.

use std::{collections::HashSet, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tenantry::{DbErrorKind, Tenant};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{Fixture, connections, pid};
use crate::support::{catalog::texts, http_server::eventually, slug};

/// Much longer than any permitted wait.
const SLOW: &str = "SELECT pg_sleep(100)";

fn sql(text: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, text)
}

/// Starts slow statements of a tenant, and waits until the server executes them.
async fn slow(it: &Fixture, tenant: &Tenant, count: usize) -> Vec<JoinHandle<()>> {
    let start = |_| {
        let tenant = tenant.clone();
        tokio::spawn(async move { drop(tenant.execute_raw(sql(SLOW)).await) })
    };
    let all = (0..count).map(start).collect();
    at_work(it, count).await;
    all
}

/// Waits until the server executes this number of slow statements.
async fn at_work(it: &Fixture, count: usize) {
    let plain = it.db.plain().await;
    let sleeping = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'
        AND datname = current_database()";
    eventually("the server is at as many statements", async || {
        texts(&plain, sleeping).await == [count.to_string()]
    })
    .await;
    plain.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_statements_do_not_block_others_and_end_on_the_server() {
    let it = Fixture::new(2, |config| config.acquire_timeout = Duration::from_secs(60)).await;
    for round in 0..2 {
        let given_up = slow(&it, it.one(), 4).await;
        let started = Instant::now();
        given_up.iter().for_each(JoinHandle::abort);
        pid(&it.tenants[1]).await;
        assert!(started.elapsed() < Duration::from_secs(10), "{round}: {:?}", started.elapsed());
        at_work(&it, 0).await;
    }
    assert_eq!(it.hold(4).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_cancelled_during_a_statement_releases_its_locks() {
    let it = Fixture::new(1, |_| {}).await;
    let lock = r#"LOCK TABLE "@tenant".guards"#;
    let tenant = it.one().clone();
    let given_up = tokio::spawn(async move {
        let txn = tenant.begin().await.unwrap();
        txn.execute_raw(sql(lock)).await.unwrap();
        drop(txn.execute_raw(sql(SLOW)).await);
    });
    at_work(&it, 1).await;
    given_up.abort();
    let started = Instant::now();
    let read = it.one().execute_raw(sql(r#"SELECT FROM "@tenant".guards"#));
    timeout(Duration::from_secs(15), read).await.expect("the lock is held").unwrap();
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_creation_does_not_block_others() {
    let it = Fixture::new(1, |config| config.acquire_timeout = Duration::from_secs(60)).await;
    let plain = it.db.plain().await;
    let blocking = plain.begin().await.unwrap();
    blocking.execute_raw(sql("LOCK TABLE registry.tenants IN SHARE MODE")).await.unwrap();
    for n in 0..4 {
        let new = tenantry::NewTenant::new(slug(&format!("new-{n}")));
        let created = timeout(Duration::from_millis(300), it.tenancy.create(new)).await;
        assert!(created.is_err(), "it was not blocked");
    }
    let all = timeout(Duration::from_secs(15), it.hold(4)).await;
    assert_eq!(all.expect("connections are held").len(), 4);
    blocking.rollback().await.unwrap();
    let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'
        AND datname = current_database()";
    eventually("no statement waits", async || texts(&plain, waits).await == ["0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_ends_soon_after_its_cancellation_keeps_its_connection() {
    let it = Fixture::new(1, |config| config.max_connections = 1).await;
    let mut pids = HashSet::new();
    for _ in 0..20 {
        pids.insert(pid(it.one()).await);
        let brief = it.one().execute_raw(sql("SELECT pg_sleep(0.004)"));
        let _ = timeout(Duration::from_millis(1), brief).await;
    }
    // More than one, as the machine may be busy.
    assert!(pids.len() < 10, "{} connections were used", pids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_statements_leave_a_bounded_number_of_connections() {
    let change = |config: &mut tenantry::Config| {
        config.connect_options.set_application_name("pool");
        config.acquire_timeout = Duration::from_secs(60);
    };
    let it = Fixture::new(1, change).await;
    let plain = it.db.plain().await;
    let flood = async {
        let waves = (0..4).map(async |_| {
            for _ in 0..8 {
                let slow = it.one().execute_raw(sql(SLOW));
                let _ = timeout(Duration::from_millis(100), slow).await;
            }
        });
        futures_util::future::join_all(waves).await;
    };
    let mut most = 0;
    let count = async {
        loop {
            most = most.max(connections(&plain, it.db.name()).await);
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = flood => {}
        () = count => {}
    }
    // Twice four, one for notifications, one for resolving tenants, and some for a server that
    // detects closed connections late: 32 statements were cancelled within a few seconds.
    assert!((6..=15).contains(&most), "{most}");
    pid(it.one()).await;
}

#[tokio::test]
async fn a_statement_ends_after_statement_timeout_and_its_connection_stays() {
    let it = Fixture::new(1, |config| {
        config.statement_timeout = Some(Duration::from_millis(300));
        config.max_connections = 1;
    });
    let it = it.await;
    let before = pid(it.one()).await;
    let started = Instant::now();
    let error = it.one().execute_raw(sql(SLOW)).await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(pid(it.one()).await, before);

    // A transaction sets its own timeout.
    let txn = it.one().begin().await.unwrap();
    txn.set_statement_timeout(None).await.unwrap();
    txn.execute_raw(sql("SELECT pg_sleep(0.6)")).await.unwrap();
    txn.commit().await.unwrap();
    let error = it.one().execute_raw(sql(SLOW)).await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::Timeout);
    assert_eq!(pid(it.one()).await, before);
}

#[tokio::test]
async fn by_default_a_statement_ends_before_a_request_does() {
    let it = Fixture::new(1, |_| {}).await;
    let setting = "SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::int";
    let row = it.one().query_one_raw(sql(setting)).await.unwrap().unwrap();
    let seconds: i32 = row.try_get_by_index(0).unwrap();
    assert!((1..=tenantry_axum::DEADLINE.as_secs()).contains(&(seconds as u64)), "{seconds}");
    let unlimited = Fixture::new(1, |config| config.statement_timeout = None).await;
    let setting = "SELECT 1 WHERE current_setting('statement_timeout') = '0'";
    assert!(unlimited.one().query_one_raw(sql(setting)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_transaction_that_idles_for_too_long_releases_its_locks() {
    let it = Fixture::new(1, |config| {
        config.idle_in_transaction_timeout = Some(Duration::from_millis(300));
    });
    let it = it.await;
    let txn = it.one().begin().await.unwrap();
    txn.execute_raw(sql(r#"LOCK TABLE "@tenant".guards"#)).await.unwrap();
    let read = it.one().execute_raw(sql(r#"SELECT FROM "@tenant".guards"#));
    timeout(Duration::from_secs(15), read).await.expect("the lock is held").unwrap();
    let error = txn.execute_raw(sql("SELECT 1")).await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable, "{error}");
    txn.commit().await.unwrap_err();
    assert_eq!(it.hold(4).await.len(), 4);
}
