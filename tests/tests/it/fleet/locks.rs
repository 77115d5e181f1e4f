//! A migration that waits for a lock does not block others.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tenantry_migrate::{Target, run};

use super::*;
use crate::support::{
    catalog::texts,
    process::Ran,
    sql_migration::{INDEX, PRICE, SHELF, Sql},
};

fn count() -> Statement {
    Statement::from_string(DbBackend::Postgres, r#"SELECT count(*) FROM "@tenant"."books""#)
}

/// The longest that a statement of either tenant takes while `work` is done, of a program with four
/// connections of which the first tenant could use 16.
async fn longest<T>(db: &TestDb, slugs: [&str; 2], work: impl Future<Output = T>) -> [Duration; 2] {
    let config = Config { max_connections: 4, ..Config::new(db.url(), sql_migrator([BOOKS])) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let stop = AtomicBool::new(false);
    let read = async |name: &str, tasks: usize| {
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        let task = || async {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::SeqCst) {
                let started = Instant::now();
                tenant.query_one_raw(count()).await.unwrap();
                longest = longest.max(started.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        };
        join_all((0..tasks).map(|_| task())).await.into_iter().max().unwrap()
    };
    let work = async {
        work.await;
        stop.store(true, Ordering::SeqCst);
    };
    let (one, two, ()) = tokio::join!(read(slugs[0], 16), read(slugs[1], 1), work);
    tenancy.close().await;
    [one, two]
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_run_blocks_neither_the_tenant_nor_others() {
    let db = towns(2).await;
    let plain = pool(&db.url(), 6).await;
    let report = plain.begin().await.unwrap();
    report.execute_unprepared("SELECT FROM town_0.books").await.unwrap();
    let timeouts = Timeouts { lock: Some(Duration::from_secs(5)), ..Timeouts::default() };
    let fleet = FleetOptions { timeouts, max_attempts: 1, ..fleet() };
    let work = async {
        let ran = up(&plain, sql_migrator([BOOKS, SHELF]), &fleet).await;
        assert_eq!(ran.summary, Summary { done: 1, failed: 1, ..Summary::default() });
    };
    let started = Instant::now();
    for longest in longest(&db, ["town-0", "town-1"], work).await {
        assert!(longest < Duration::from_millis(2500), "{longest:?}");
    }
    assert!(started.elapsed() > Duration::from_secs(4), "it has not waited");
    report.rollback().await.unwrap();
    let ran = up(&plain, sql_migrator([BOOKS, SHELF]), &fleet).await;
    assert_eq!(ran.summary, Summary { done: 1, skipped: 1, ..Summary::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_one_schema_waits_in_the_same_way_and_goes_on_when_the_lock_is_free() {
    let db = towns(2).await;
    let plain = pool(&db.url(), 6).await;
    let report = plain.begin().await.unwrap();
    report.execute_unprepared("SELECT FROM town_0.books").await.unwrap();
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, SHELF]));
    let town = Target::Schema("town_0".parse().unwrap());
    let timeouts = Timeouts { lock: Some(Duration::from_secs(60)), ..Timeouts::default() };
    let up = Action::Up(None);
    let work = async {
        let ends = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            report.rollback().await.unwrap();
        };
        let (ran, ()) = tokio::join!(run(&plain, &town, &migrator, &up, timeouts), ends);
        assert_eq!(ran.unwrap().applied, ["m2_shelf"]);
    };
    for longest in longest(&db, ["town-0", "town-1"], work).await {
        assert!(longest < Duration::from_millis(2000), "{longest:?}");
    }
}

#[tokio::test]
async fn steps_before_a_lock_timeout_run_once() {
    let db = towns(1).await;
    let plain = pool(&db.url(), 6).await;
    let all = || DynMigrator::tenant(sql_migrator([BOOKS, SHELF, INDEX, PRICE]));
    let town = Target::Schema("town_0".parse().unwrap());
    let no_limit = Timeouts::default();
    run(&plain, &town, &all(), &Action::Up(None), no_limit).await.unwrap();
    // The newest step waits; the index is dropped outside a transaction.
    let lock = plain.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE town_0.books IN ROW EXCLUSIVE MODE").await.unwrap();
    let timeouts = Timeouts { lock: Some(Duration::from_secs(30)), ..Timeouts::default() };
    let (migrator, down) = (all(), Action::Down(2));
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lock.rollback().await.unwrap();
    };
    let (ran, ()) = tokio::join!(run(&plain, &town, &migrator, &down, timeouts), ends);
    assert_eq!(ran.unwrap().rolled_back, ["m4_price", "m3_index"]);
    assert_eq!(versions(&plain).await, ["1 m2_shelf"]);

    // Waits after a non-transactional step.
    let late = Sql { name: "m3_late", up: "SELECT pg_sleep(0)", alone: true, ..SHELF };
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, SHELF, late, PRICE]));
    let lock = plain.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE town_0.books IN ROW EXCLUSIVE MODE").await.unwrap();
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lock.rollback().await.unwrap();
    };
    let up = Action::Up(None);
    let (ran, ()) = tokio::join!(run(&plain, &town, &migrator, &up, timeouts), ends);
    assert_eq!(ran.unwrap().applied, ["m3_late", "m4_price"]);
    let recorded = "SELECT version::text FROM town_0.seaql_migrations ORDER BY 1";
    assert_eq!(texts(&plain, recorded).await, ["m1_books", "m2_shelf", "m3_late", "m4_price"]);
}

#[tokio::test]
async fn run_that_waits_for_the_registry_does_not_block_others() {
    let db = TestDb::new().await;
    let plain = pool(&db.url(), 6).await;
    let dump = plain.begin().await.unwrap();
    dump.execute_unprepared("SELECT FROM registry.tenants").await.unwrap();
    let url = db.url();
    let down = tokio::task::spawn_blocking(move || {
        Ran::on("migration", &url, &["down", "--registry", "--lock-timeout", "3"])
    });
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    while started.elapsed() < Duration::from_secs(4) {
        let started = Instant::now();
        texts(&plain, "SELECT count(*)::text FROM registry.tenants").await;
        longest = longest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
    down.await.unwrap().exits(1).complains(["SQLSTATE 55P03"]);
    dump.rollback().await.unwrap();
}
