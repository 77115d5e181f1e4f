//! Locks that are held, connections that break, a server that restarts.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry_migrate::{FailureLimit, FleetOptions, StopReason};

use super::*;
use crate::support::{
    catalog::texts,
    database::own_server,
    sql_migration::{PRICE, SHELF, Sql},
};

#[tokio::test]
async fn locked_tenant_is_retried_after_the_others_and_then_fails() {
    let db = towns(20).await;
    let plain = pool(&db.url(), 6).await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("SELECT FROM town_3.books").await.unwrap();
    let all = sql_migrator([BOOKS, SHELF]);
    let ran = up(&plain, all.clone(), &fleet()).await;
    assert_eq!(ran.summary, Summary { done: 19, failed: 1, ..Summary::default() });
    let (town, error) = &ran.failed[0];
    assert!(town == "town-3" && error.ends_with("(SQLSTATE 55P03)"), "{error}");
    assert!(error.contains("m2_shelf"), "{error}");
    busy.rollback().await.unwrap();
    let ran = up(&plain, all, &fleet()).await;
    assert_eq!(ran.summary, Summary { skipped: 19, done: 1, ..Summary::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_is_migrated_when_the_lock_is_released_in_time() {
    let db = towns(8).await;
    let plain = pool(&db.url(), 6).await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("LOCK TABLE town_3.books").await.unwrap();
    let patient = FleetOptions { max_attempts: 100, ..fleet() };
    let run = async { up(&plain, sql_migrator([BOOKS, SHELF]), &patient).await };
    let let_go = async {
        while texts(
            &plain,
            "SELECT count(*)::text FROM registry.tenants
                             WHERE schema_version = 'm2_shelf'",
        )
        .await
            != ["7"]
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        busy.rollback().await.unwrap();
    };
    let (ran, ()) = tokio::join!(run, let_go);
    assert_eq!(ran.summary, Summary { done: 8, ..Summary::default() });
    assert_eq!(ran.done.last().unwrap(), "town-3");
    assert_eq!(
        texts(
            &plain,
            "SELECT slug FROM registry.tenants WHERE migration_attempts > 0
                              OR migration_error IS NOT NULL"
        )
        .await,
        [""; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn run_continues_after_server_restart() {
    let server = own_server().await;
    let url = server.url("postgres");
    found_towns(&url, 150).await;
    let db = pool(&url, 6).await;
    let run = async { up(&db, sql_migrator([BOOKS, SHELF]), &fleet()).await };
    let hurt = async {
        let watching = pool(&url, 1).await;
        let half = "SELECT (count(*) > 40)::text FROM registry.tenants
                    WHERE schema_version = 'm2_shelf'";
        while texts(&watching, half).await != ["true"] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // PostgreSQL closes all sessions and recovers when one of its processes is killed.
        let pid = texts(&watching, "SELECT pg_backend_pid()::text").await;
        kill(Pid::from_raw(pid[0].parse().unwrap()), Signal::SIGKILL).unwrap();
        let _ = watching.close().await;
    };
    let (ran, ()) = tokio::join!(run, hurt);
    assert_eq!(ran.failed, []);
    // A tenant that was committed when the connection broke counts as skipped.
    assert_eq!(ran.summary.done + ran.summary.skipped, 150, "{ran:?}");
    assert_eq!(versions(&db).await, ["150 m2_shelf"]);
    let shelves = "SELECT count(*)::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
                   WHERE attname = 'shelf' AND relname = 'books'";
    assert_eq!(texts(&db, shelves).await, ["150"]);
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(log.contains("all server processes terminated; reinitializing"), "{log}");
    db.close().await.unwrap();
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn run_stops_if_the_server_stays_unreachable() {
    let mut server = own_server().await;
    let url = server.url("postgres");
    found_towns(&url, 30).await;
    let mut options = ConnectOptions::new(&url);
    options.max_connections(2).acquire_timeout(Duration::from_millis(300)).sqlx_logging(false);
    let db = tenantry_migrate::connect::open(options).await.unwrap();
    // The first migration never ends by itself.
    let slow = Sql { up: "SELECT pg_sleep(1000)", ..SHELF };
    let max_failures = Some(FailureLimit::Number(10));
    let brief =
        FleetOptions { jobs: 2, outage_timeout: Duration::from_secs(1), max_failures, ..fleet() };
    let run = async { up(&db, sql_migrator([BOOKS, slow]), &brief).await };
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let pidfile = std::fs::read_to_string(server.data_dir().join("postmaster.pid")).unwrap();
        let pid: i32 = pidfile.lines().next().unwrap().parse().unwrap();
        // An immediate shutdown: the PostgreSQL manual, "Shutting Down the Server".
        kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
    };
    let (ran, ()) = tokio::join!(run, end);
    assert!(ran.done.is_empty(), "{ran:?}");
    assert!((1..=2).contains(&ran.summary.failed), "{ran:?}");
    assert_eq!(ran.summary.failed + ran.summary.not_started, 30);
    // Not MaxFailures.
    assert_eq!(ran.summary.stopped, Some(StopReason::Unavailable));
    assert!(server.has_ended());
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_while_the_server_accepts_no_writes() {
    let server = own_server().await;
    let url = server.url("postgres");
    found_towns(&url, 12).await;
    let system = async |setting: &str| {
        let db = pool(&url, 1).await;
        db.execute_unprepared(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
        db.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
        db.close().await.unwrap();
    };
    system("default_transaction_read_only = on").await;
    let db = pool(&url, 4).await;
    let started = std::time::Instant::now();
    let run = async { up(&db, sql_migrator([BOOKS, SHELF]), &fleet()).await };
    let failover = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        system("default_transaction_read_only = off").await;
    };
    let (ran, ()) = tokio::join!(run, failover);
    assert_eq!(ran.summary, Summary { done: 12, ..Summary::default() }, "{ran:?}");
    assert!(started.elapsed() >= Duration::from_secs(2));

    // If that takes too long, the run stops, and no tenant has failed.
    system("default_transaction_read_only = on").await;
    let brief = FleetOptions { outage_timeout: Duration::from_millis(500), ..fleet() };
    let ran = up(&db, sql_migrator([BOOKS, SHELF, PRICE]), &brief).await;
    assert_eq!(ran.summary.stopped, Some(StopReason::Unavailable), "{ran:?}");
    assert!(ran.summary.done == 0 && ran.summary.not_started > 0, "{ran:?}");
    db.close().await.unwrap();
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_one_schema_waits_while_the_server_accepts_no_writes() {
    let server = own_server().await;
    let url = server.url("postgres");
    let system = async |setting: &str| {
        let db = pool(&url, 1).await;
        db.execute_unprepared(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
        db.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
        db.close().await.unwrap();
    };
    let db = pool(&url, 2).await;
    db.execute_unprepared("CREATE SCHEMA city").await.unwrap();
    system("default_transaction_read_only = on").await;
    let city = tenantry_migrate::Target::Schema("city".parse().unwrap());
    let migrator = DynMigrator::new(sql_migrator([BOOKS, SHELF]));
    let run = async {
        tenantry_migrate::run(&db, &city, &migrator, &Action::Up(None), Timeouts::default()).await
    };
    let failover = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        system("default_transaction_read_only = off").await;
    };
    let (ran, ()) = tokio::join!(run, failover);
    assert_eq!(ran.unwrap().applied.len(), 2);
    db.close().await.unwrap();
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}
