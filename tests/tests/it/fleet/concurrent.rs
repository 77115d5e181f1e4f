//! Concurrent creations, index builds, writers and runs.

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tenantry_migrate::FleetOptions;

use super::*;
use crate::support::{
    catalog::texts,
    sql_migration::{INDEX, PRICE, SHELF, Sql},
};

/// As BOOKS, but waits until the lock of this number is free.
const SLOW_BOOKS: Sql = Sql {
    up: "SELECT pg_advisory_xact_lock_shared(4711);
         CREATE TABLE books (isbn text CONSTRAINT books_pkey PRIMARY KEY, title text)",
    ..BOOKS
};

async fn until(db: &DatabaseConnection, sql: &str) {
    while texts(db, sql).await != ["true"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_created_by_older_program_during_the_run_is_migrated() {
    let db = towns(3).await;
    let plain = pool(&db.url(), 6).await;
    let older = Config::new(db.url(), sql_migrator([SLOW_BOOKS]));
    let older = Tenancy::connect(&older).await.unwrap();
    // So that its migrations are recorded.
    older.create(NewTenant::new(slug("early"))).await.unwrap();
    let gate = plain.begin().await.unwrap();
    gate.execute_unprepared("SELECT pg_advisory_xact_lock(4711)").await.unwrap();
    let creating = {
        let older = older.clone();
        tokio::spawn(async move { older.create(NewTenant::new(slug("late"))).await.unwrap() })
    };
    let waits = "SELECT (count(*) = 1)::text FROM pg_locks
                 WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&plain, waits).await;

    let runner = plain.clone();
    let all = sql_migrator([BOOKS, SHELF]);
    let run = tokio::spawn(async move { up(&runner, all, &fleet()).await });
    // It waits for the creation.
    let waits = "SELECT (count(*) = 2)::text FROM pg_locks
                 WHERE locktype = 'advisory' AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&plain, waits).await;
    assert!(!run.is_finished());
    gate.rollback().await.unwrap();
    creating.await.unwrap();
    let ran = run.await.unwrap();
    assert_eq!(ran.summary, Summary { done: 5, ..Summary::default() });
    assert_eq!(versions(&plain).await, ["5 m2_shelf"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_created_during_the_run_are_migrated() {
    let db = towns(3).await;
    let plain = pool(&db.url(), 6).await;
    let gate = plain.begin().await.unwrap();
    gate.execute_unprepared("SELECT pg_advisory_xact_lock(4711)").await.unwrap();
    let slow = Sql {
        up: "SELECT pg_advisory_xact_lock_shared(4711); ALTER TABLE books ADD COLUMN shelf text",
        ..SHELF
    };
    let patient = FleetOptions { timeouts: Timeouts::default(), ..fleet() };
    let runner = plain.clone();
    let run = tokio::spawn(async move { up(&runner, sql_migrator([BOOKS, slow]), &patient).await });
    let waits = "SELECT (count(*) = 3)::text FROM pg_locks
                 WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&plain, waits).await;
    let older = Tenancy::connect(&Config::new(db.url(), sql_migrator([BOOKS]))).await.unwrap();
    for name in ["late", "later"] {
        older.create(NewTenant::new(slug(name))).await.unwrap();
    }
    gate.rollback().await.unwrap();
    let ran = run.await.unwrap();
    assert_eq!(ran.summary, Summary { done: 5, ..Summary::default() });
    assert_eq!(versions(&plain).await, ["5 m2_shelf"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_built_concurrently_in_many_tenants_while_all_of_them_are_written_to() {
    let db = towns(12).await;
    let plain = pool(&db.url(), 12).await;
    let writers: Vec<_> = (0..4_usize)
        .map(|writer| {
            let plain = plain.clone();
            tokio::spawn(async move {
                for number in 0..150 {
                    let town = (writer + number) % 12;
                    let insert = Statement::from_sql_and_values(
                        DbBackend::Postgres,
                        format!("INSERT INTO town_{town}.books VALUES ($1, $1)"),
                        [format!("book {writer} {number}").into()],
                    );
                    plain.execute_raw(insert).await.unwrap();
                }
            })
        })
        .collect();
    let all = sql_migrator([BOOKS, SHELF, INDEX, PRICE]);
    // Two concurrent runs do not block each other's builds.
    let wide = FleetOptions { timeouts: Timeouts::default(), ..fleet() };
    let other = pool(&db.url(), 4).await;
    let (first, second) =
        tokio::join!(up(&plain, all.clone(), &wide), up(&other, all.clone(), &wide));
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!((first.failed, second.failed), (vec![], vec![]));
    assert_eq!(versions(&plain).await, ["12 m4_price"]);
    let valid = "SELECT count(*)::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 WHERE relname = 'books_title_idx' AND indisvalid AND indisunique";
    assert_eq!(texts(&plain, valid).await, ["12"]);
    let invalid = "SELECT count(*)::text FROM pg_index WHERE NOT indisvalid";
    assert_eq!(texts(&plain, invalid).await, ["0"]);
}
