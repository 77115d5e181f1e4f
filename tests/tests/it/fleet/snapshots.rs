//! Concurrent index builds, and transactions that they wait for.

use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry_migrate::{Target, run};

use super::*;
use crate::support::{
    catalog::texts,
    sql_migration::{INDEX, Sql},
};

const SECOND: Duration = Duration::from_secs(1);

/// Waits a tenth of a second for locks, and this long for old transactions.
fn patient(snapshot: Duration) -> FleetOptions {
    let (lock, snapshot) = (Some(Duration::from_millis(100)), Some(snapshot));
    FleetOptions { jobs: 2, timeouts: Timeouts { lock, snapshot, statement: None }, ..fleet() }
}

/// A transaction of another program, which has taken a snapshot.
async fn old_transaction(db: &TestDb) -> sea_orm::DatabaseTransaction {
    let other = pool(&db.url(), 1).await;
    other.execute_unprepared("SET application_name = 'nightly report'").await.unwrap();
    let report = other.begin().await.unwrap();
    let sql = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    report.execute_unprepared(sql).await.unwrap();
    report
}

async fn invalid(db: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1";
    texts(db, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_older_than_the_lock_timeout_fails_no_tenant() {
    let db = towns(3).await;
    let plain = pool(&db.url(), 6).await;
    let report = old_transaction(&db).await;
    let fleet = patient(60 * SECOND);
    let run = async { up(&plain, sql_migrator([BOOKS, INDEX]), &fleet).await };
    let end = async {
        tokio::time::sleep(3 * SECOND).await;
        report.rollback().await.unwrap();
    };
    let (ran, ()) = tokio::join!(run, end);
    assert_eq!(ran.failed, []);
    assert_eq!(ran.summary.done, 3);
    assert_eq!(invalid(&plain).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_that_never_ends_is_named_and_leaves_no_invalid_index() {
    let db = towns(2).await;
    let plain = pool(&db.url(), 6).await;
    let report = old_transaction(&db).await;
    let fleet = FleetOptions { max_attempts: 1, ..patient(2 * SECOND) };
    let ran = up(&plain, sql_migrator([BOOKS, INDEX]), &fleet).await;
    assert_eq!(ran.failed.len(), 2, "{ran:?}");
    for (_, error) in &ran.failed {
        for word in ["m3_index", "55P03", "waited for process ", "nightly report", "since 20"] {
            assert!(error.contains(word), "no {word} in {error}");
        }
    }
    assert_eq!(invalid(&plain).await, [""; 0]);
    // The next run continues.
    report.rollback().await.unwrap();
    let ran = up(&plain, sql_migrator([BOOKS, INDEX]), &fleet).await;
    assert_eq!(ran.summary.done, 2, "{ran:?}");
    let comments = "SELECT count(*)::text FROM pg_description
                    WHERE objoid = 'town_0.seaql_migrations'::regclass";
    assert_eq!(texts(&plain, comments).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_retried_when_the_old_transaction_ends_later() {
    let db = towns(2).await;
    let plain = pool(&db.url(), 6).await;
    let report = old_transaction(&db).await;
    let fleet = FleetOptions { max_attempts: 5, ..patient(SECOND) };
    let run = async { up(&plain, sql_migrator([BOOKS, INDEX]), &fleet).await };
    let end = async {
        tokio::time::sleep(2 * SECOND + SECOND / 2).await;
        report.rollback().await.unwrap();
    };
    let (ran, ()) = tokio::join!(run, end);
    assert_eq!((ran.summary.done, ran.failed.len()), (2, 0), "{ran:?}");
    assert_eq!(invalid(&plain).await, [""; 0]);
}

fn city() -> Target {
    Target::Schema("city".parse().unwrap())
}

/// A partitioned table with an index on one partition only: the index of the table is invalid.
const SHELVES: Sql = Sql {
    name: "m2_shelves",
    up: "CREATE TABLE shelves (id int, title text) PARTITION BY RANGE (id);
         CREATE TABLE shelf_1 PARTITION OF shelves FOR VALUES FROM (1) TO (2);
         CREATE INDEX shelves_title_idx ON ONLY shelves (title)",
    down: "DROP TABLE shelves",
    ..BOOKS
};

#[tokio::test]
async fn the_invalid_index_of_a_partitioned_table_stays() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let migrator = DynMigrator::new(sql_migrator([BOOKS, SHELVES, INDEX]));
    let up = run(&plain, &city(), &migrator, &Action::Up(None), Timeouts::default()).await;
    assert_eq!(up.unwrap().applied.len(), 3);
    assert_eq!(invalid(&plain).await, ["city.shelves_title_idx"]);
}

/// An invalid index, as after a failed build.
async fn half_built(plain: &DatabaseConnection, name: &str) {
    let row = "INSERT INTO city.books VALUES ('a', 'same'), ('b', 'same') ON CONFLICT DO NOTHING";
    plain.execute_unprepared(row).await.unwrap();
    let sql = format!("CREATE UNIQUE INDEX CONCURRENTLY {name} ON city.books (title)");
    plain.execute_unprepared(&sql).await.unwrap_err();
}

#[tokio::test]
async fn an_index_that_was_invalid_before_is_not_removed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let books = DynMigrator::new(sql_migrator([BOOKS]));
    run(&plain, &city(), &books, &Action::Up(None), Timeouts::default()).await.unwrap();
    half_built(&plain, "by_hand").await;
    let index = Sql {
        up: "CREATE INDEX CONCURRENTLY IF NOT EXISTS isbn_idx ON books (isbn)",
        down: "DROP INDEX CONCURRENTLY isbn_idx",
        ..INDEX
    };
    let migrator = DynMigrator::new(sql_migrator([BOOKS, index]));
    run(&plain, &city(), &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    assert_eq!(invalid(&plain).await, ["city.by_hand"]);
    run(&plain, &city(), &migrator, &Action::Down(1), Timeouts::default()).await.unwrap();
    assert_eq!(invalid(&plain).await, ["city.by_hand"]);
    // An invalid index of the same name is not dropped.
    texts(&plain, "DROP INDEX city.by_hand").await;
    half_built(&plain, "isbn_idx").await;
    let up = run(&plain, &city(), &migrator, &Action::Up(None), Timeouts::default()).await;
    let error = up.unwrap_err().to_string();
    assert!(error.contains("isbn_idx is invalid"), "{error}");
    assert_eq!(invalid(&plain).await, ["city.isbn_idx"]);
    texts(&plain, "DROP INDEX city.isbn_idx").await;
    run(&plain, &city(), &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    assert_eq!(invalid(&plain).await, [""; 0]);
}

#[tokio::test]
async fn retry_removes_invalid_index_of_failed_attempt() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let books = DynMigrator::new(sql_migrator([BOOKS]));
    run(&plain, &city(), &books, &Action::Up(None), Timeouts::default()).await.unwrap();
    texts(&plain, "INSERT INTO city.books VALUES ('a', 'same'), ('b', 'same')").await;
    // PostgreSQL chooses the name: a second attempt would get another one.
    let index = Sql {
        up: "CREATE UNIQUE INDEX CONCURRENTLY ON books (title)",
        down: "DROP INDEX CONCURRENTLY books_title_idx",
        ..INDEX
    };
    let migrator = DynMigrator::new(sql_migrator([BOOKS, index]));
    for _ in 0..2 {
        let up = run(&plain, &city(), &migrator, &Action::Up(None), Timeouts::default()).await;
        let error = up.unwrap_err().to_string();
        assert!(error.contains("23505"), "{error}");
    }
    // As if the program had been killed during the second attempt.
    let sql = "CREATE UNIQUE INDEX CONCURRENTLY ON city.books (title)";
    plain.execute_unprepared(sql).await.unwrap_err();
    assert_eq!(invalid(&plain).await.len(), 2);
    texts(&plain, "DELETE FROM city.books WHERE isbn = 'b'").await;
    run(&plain, &city(), &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    let indexes = "SELECT indexrelid::regclass::text FROM pg_index
                   WHERE indrelid = 'city.books'::regclass ORDER BY 1";
    assert_eq!(texts(&plain, indexes).await, ["city.books_pkey", "city.books_title_idx"]);
    assert_eq!(invalid(&plain).await, [""; 0]);
}

#[tokio::test]
async fn lock_timeout_set_by_a_migration_is_kept() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA city").await;
    let report = old_transaction(&db).await;
    let own = Sql { up: "SET lock_timeout = '200ms'", down: "SELECT 1", ..INDEX };
    let build = Sql {
        name: "m4_index",
        up: "SET lock_timeout = '200ms'; CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON books (title)",
        ..INDEX
    };
    let migrator = DynMigrator::new(sql_migrator([BOOKS, own, build]));
    let timeouts = patient(600 * SECOND).timeouts;
    let started = std::time::Instant::now();
    let up = run(&plain, &city(), &migrator, &Action::Up(None), timeouts).await;
    assert!(up.unwrap_err().to_string().contains("55P03"));
    assert!(started.elapsed() < 60 * SECOND);
    report.rollback().await.unwrap();
    run(&plain, &city(), &migrator, &Action::Up(None), timeouts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_with_concurrently_waits_for_old_transactions() {
    let db = TestDb::new().await;
    let plain = pool(&db.url(), 4).await;
    texts(&plain, "CREATE SCHEMA city").await;
    let first = DynMigrator::new(sql_migrator([BOOKS, SHELVES, INDEX]));
    run(&plain, &city(), &first, &Action::Up(None), Timeouts::default()).await.unwrap();
    let alone = |name, up| Sql { name, up, down: "SELECT 1", ..INDEX };
    let more = [
        BOOKS,
        SHELVES,
        INDEX,
        alone("m4_rebuilds", "REINDEX INDEX CONCURRENTLY books_title_idx; SELECT 1"),
        alone("m5_detaches", "ALTER TABLE shelves DETACH PARTITION shelf_1 CONCURRENTLY"),
        alone("m6_drops", "DROP INDEX CONCURRENTLY IF EXISTS books_title_idx"),
    ];
    for count in 4..=more.len() {
        let migrations = more[..count].to_vec();
        let migrator = SqlMigrator { migrations, table: "seaql_migrations" };
        let migrator = DynMigrator::new(migrator);
        // It has read what the statement is about.
        let other = pool(&db.url(), 1).await;
        let report = other.begin().await.unwrap();
        let sql = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
                   SELECT count(*) FROM city.books; SELECT count(*) FROM city.shelves";
        report.execute_unprepared(sql).await.unwrap();
        let timeouts = patient(60 * SECOND).timeouts;
        let city = city();
        let run = run(&plain, &city, &migrator, &Action::Up(None), timeouts);
        let end = async {
            tokio::time::sleep(SECOND).await;
            report.rollback().await.unwrap();
        };
        let (ran, ()) = tokio::join!(run, end);
        assert_eq!(ran.unwrap().applied, [more[count - 1].name]);
        other.close().await.unwrap();
    }
    assert_eq!(invalid(&plain).await, ["city.shelves_title_idx"]);
}
