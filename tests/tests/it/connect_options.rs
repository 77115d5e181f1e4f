//! SeaORM's connection options.

mod tls;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::{ConnectOptions, ConnectionTrait, DbBackend, DbErr, Statement, TransactionTrait};
use tenantry::{Config, Tenancy};
use tracing::log::LevelFilter;

use crate::support::{TestDb, log::Log, slug};

async fn text(db: &impl ConnectionTrait, sql: &str) -> String {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Options whose `after_connect` sends `sql`, and the number of its calls.
fn customised(db: &TestDb, sql: &'static str) -> (ConnectOptions, Arc<AtomicUsize>) {
    let mut options = ConnectOptions::new(db.url());
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    options.after_connect(move |connection| {
        counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { connection.execute_unprepared(sql).await.map(drop) })
    });
    (options, calls)
}

#[tokio::test]
async fn every_connection_has_the_application_name_and_what_after_connect_sets() {
    let db = TestDb::new().await;
    db.with_tenants(["acme"]).await.0.close().await;
    let (mut options, calls) = customised(&db, "SET work_mem = '17MB'; SET search_path = acme");
    options.set_application_name("shop").max_connections(8);
    let config = Config { reserved_connections: 0, ..Config::new(options, migration::Migrator) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    let held = join_all((0..4).map(|_| tenant.begin())).await;
    let mut pids = HashSet::new();
    for txn in &held {
        let txn = txn.as_ref().unwrap();
        assert_eq!(text(txn, "SHOW work_mem").await, "17MB");
        // What isolation rests on is set after it.
        assert_eq!(text(txn, "SHOW search_path").await, "pg_catalog");
        pids.insert(text(txn, "SELECT pg_backend_pid()::text").await);
    }
    assert_eq!(pids.len(), 4);
    // Those, those of the checks at the start, and that for lookups in the registry.
    let most = calls.load(Ordering::SeqCst);
    assert!((6..=8).contains(&most), "{most} calls");
    let others = "SELECT count(*)::text FROM pg_stat_activity
        WHERE datname = current_database() AND application_name <> 'shop'";
    assert_eq!(text(&tenant, others).await, "0");
}

#[tokio::test]
async fn a_session_that_a_statement_has_changed_gets_after_connect_again() {
    let db = TestDb::new().await;
    db.with_tenants(["acme", "globex"]).await.0.close().await;
    let (options, _) = customised(&db, "SET work_mem = '17MB'");
    let config = Config { max_connections: 1, ..Config::new(options, migration::Migrator) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let acme = tenancy.tenant(&slug("acme")).await.unwrap();
    let globex = tenancy.tenant(&slug("globex")).await.unwrap();
    acme.execute_unprepared("SET work_mem = '99MB'").await.unwrap();
    assert_eq!(text(&globex, "SHOW work_mem").await, "17MB");
}

#[tokio::test]
async fn an_after_connect_that_fails_or_leaves_a_transaction_open_is_an_error() {
    let db = TestDb::new().await;
    for (sql, reason) in [
        ("SET no_such_setting = 1", "no_such_setting"),
        ("BEGIN", "after_connect has left a transaction open"),
    ] {
        let config = Config::new(customised(&db, sql).0, migration::Migrator);
        let error = Tenancy::connect(&config).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let mut options = ConnectOptions::new(db.url());
    options.after_connect(|_| Box::pin(async { Err(DbErr::Custom("not today".to_owned())) }));
    let error = Tenancy::connect(&Config::new(options, migration::Migrator)).await.unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
}

#[tokio::test]
async fn statements_of_tenants_are_logged_at_the_level_of_the_options() {
    let db = TestDb::new().await;
    db.with_tenants(["acme"]).await.0.close().await;
    let log = Log::listen();
    let mut options = ConnectOptions::new(format!("{}&sslpassword=hush", db.url()));
    options
        .sqlx_logging_level(LevelFilter::Info)
        .sqlx_slow_statements_logging_settings(LevelFilter::Warn, Duration::from_millis(200))
        .after_connect(|_| Box::pin(async { Ok(()) }));
    let tenancy = Tenancy::connect(&Config::new(options, migration::Migrator)).await.unwrap();
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    text(&tenant, "SELECT 'quick'").await;
    assert!(log.text().contains("SELECT 'quick'"), "{}", log.text());
    assert!(!log.text().contains("heartbeat"), "{}", log.text());
    assert!(!log.text().contains("slow"), "{}", log.text());
    text(&tenant, "SELECT 'slow', pg_sleep(0.3)").await;
    assert!(log.text().contains("slow statement"), "{}", log.text());
    // The driver would log parameters that it does not know.
    assert!(!log.text().contains("hush"), "{}", log.text());
}

#[tokio::test]
async fn logging_can_be_turned_off() {
    let db = TestDb::new().await;
    db.with_tenants(["acme"]).await.0.close().await;
    let log = Log::listen();
    let mut options = ConnectOptions::new(db.url());
    options.sqlx_logging(false);
    let tenancy = Tenancy::connect(&Config::new(options, migration::Migrator)).await.unwrap();
    text(&tenancy.tenant(&slug("acme")).await.unwrap(), "SELECT 'quick'").await;
    assert!(!log.text().contains("SELECT"), "{}", log.text());
}
