//! Migration of one schema.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{Action, DbErrorKind, DynMigrator, Error, Target, Timeouts, run, state};

use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{BOOKS, INDEX, PRICE, SHELF, Sql, sql_migrator},
};

fn migrator<const N: usize>(migrations: [Sql; N]) -> DynMigrator {
    DynMigrator::new(sql_migrator(migrations))
}

/// A database with the tenant `city`, at the migration BOOKS.
async fn city() -> (TestDb, DatabaseConnection, Target) {
    let db = TestDb::new().await;
    let config = Config::new(db.url(), sql_migrator([BOOKS]));
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let record = tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    let plain = db.plain().await;
    plain.execute_unprepared("INSERT INTO city.books VALUES ('1', 'Emma')").await.unwrap();
    (db, plain, Target::Schema(record.schema))
}

async fn version(db: &DatabaseConnection) -> String {
    texts(db, "SELECT coalesce(schema_version, '-') FROM registry.tenants").await.remove(0)
}

async fn columns(db: &DatabaseConnection) -> String {
    let sql = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
               WHERE attrelid = 'city.books'::regclass AND attnum > 0 AND NOT attisdropped";
    texts(db, sql).await.remove(0)
}

const NO_LIMIT: Timeouts = Timeouts { lock: None, snapshot: None, statement: None };

#[tokio::test]
async fn a_schema_goes_to_any_version_and_the_registry_knows() {
    let (_db, plain, city) = city().await;
    let all = migrator([BOOKS, SHELF, PRICE]);
    for (action, applied, rolled_back, columns_after) in [
        (Action::Up(Some(1)), vec!["m2_shelf"], vec![], "isbn title shelf"),
        (Action::To("m4_price".into()), vec!["m4_price"], vec![], "isbn title shelf price"),
        (Action::To("m1_books".into()), vec![], vec!["m4_price", "m2_shelf"], "isbn title"),
        (Action::To("m2_shelf".into()), vec!["m2_shelf"], vec![], "isbn title shelf"),
        (Action::Redo, vec!["m2_shelf"], vec!["m2_shelf"], "isbn title shelf"),
        (
            Action::Fresh { cascade: false },
            vec!["m1_books", "m2_shelf", "m4_price"],
            vec![],
            "isbn title shelf price",
        ),
    ] {
        let outcome = run(&plain, &city, &all, &action, NO_LIMIT).await.unwrap();
        assert_eq!(outcome.applied, applied, "{action:?}");
        assert_eq!(outcome.rolled_back, rolled_back, "{action:?}");
        assert_eq!(columns(&plain).await, columns_after, "{action:?}");
        let newest = state(&plain, &city, &all).await.unwrap().applied.pop().unwrap();
        assert_eq!(version(&plain).await, newest, "{action:?}");
    }
    let error = run(&plain, &city, &all, &Action::To("m9".into()), NO_LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::UnknownVersion { .. }), "{error}");
}

#[tokio::test]
async fn failing_migration_is_named_and_rolls_back_the_run() {
    let (_db, plain, city) = city().await;
    let wrong = Sql { name: "m3_wrong", up: "ALTER TABLE books ADD COLUMN shelf int", ..PRICE };
    let all = migrator([BOOKS, SHELF, wrong]);
    let error = run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "migration m3_wrong failed in schema \"city\" (rolled back): column \
         \"shelf\" of relation \"books\" already exists (SQLSTATE 42701)"
    );
    assert_eq!(
        (columns(&plain).await, version(&plain).await),
        ("isbn title".into(), "m1_books".into())
    );
}

#[tokio::test]
async fn a_migration_that_was_merged_late_keeps_the_tenant_behind() {
    let (_db, plain, city) = city().await;
    run(&plain, &city, &migrator([BOOKS, PRICE]), &Action::Up(None), NO_LIMIT).await.unwrap();
    assert_eq!(version(&plain).await, "m4_price");
    let all = migrator([BOOKS, SHELF, PRICE]);
    run(&plain, &city, &all, &Action::Up(Some(0)), NO_LIMIT).await.unwrap();
    assert_eq!(version(&plain).await, "m1_books");
    run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap();
    assert_eq!(
        (columns(&plain).await, version(&plain).await),
        ("isbn title price shelf".into(), "m4_price".into())
    );
}

#[tokio::test]
async fn migration_must_not_change_search_path() {
    let (_db, plain, city) = city().await;
    let astray = Sql { name: "m2_astray", up: "SET search_path = city, public", ..SHELF };
    let after = Sql { up: "CREATE TABLE strays (id int)", ..PRICE };
    let all = migrator([BOOKS, astray, after]);
    let error = run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap_err();
    assert!(
        matches!(&error, Error::SearchPathChanged { migration, .. } if migration == "m2_astray"),
        "{error}"
    );
    assert_eq!(version(&plain).await, "m1_books");
}

#[tokio::test]
async fn newer_schema_is_not_changed() {
    let (_db, plain, city) = city().await;
    run(&plain, &city, &migrator([BOOKS, SHELF]), &Action::Up(None), NO_LIMIT).await.unwrap();
    let old = migrator([BOOKS]);
    for action in [Action::Up(None), Action::Down(1)] {
        let error = run(&plain, &city, &old, &action, NO_LIMIT).await.unwrap_err();
        assert!(error.to_string().contains("m2_shelf. Use a newer program"), "{error}");
    }
    assert_eq!(columns(&plain).await, "isbn title shelf");
    // Unknown migrations do not prevent `fresh`.
    run(&plain, &city, &old, &Action::Fresh { cascade: false }, NO_LIMIT).await.unwrap();
    assert_eq!(
        (columns(&plain).await, version(&plain).await),
        ("isbn title".into(), "m1_books".into())
    );
}

#[tokio::test]
async fn locked_table_fails_after_lock_timeout() {
    let (_db, plain, city) = city().await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("LOCK TABLE city.books IN ACCESS SHARE MODE").await.unwrap();
    let all = migrator([BOOKS, SHELF]);
    let brief = Timeouts { lock: Some(Duration::from_millis(100)), ..Timeouts::default() };
    let error = run(&plain, &city, &all, &Action::Up(None), brief).await.unwrap_err();
    let Error::Migration { source, .. } = &error else { panic!("{error}") };
    assert_eq!(DbErrorKind::of(source), DbErrorKind::LockTimeout);
    busy.rollback().await.unwrap();
    run(&plain, &city, &all, &Action::Up(None), brief).await.unwrap();
    assert_eq!(version(&plain).await, "m2_shelf");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_concurrently_while_rows_are_written() {
    let (_db, plain, city) = city().await;
    let writer = plain.clone();
    let writing = tokio::spawn(async move {
        for number in 0..2000 {
            let insert = Statement::from_sql_and_values(
                DbBackend::Postgres,
                "INSERT INTO city.books VALUES ($1, $1)",
                [format!("book {number}").into()],
            );
            writer.execute_raw(insert).await.unwrap();
        }
    });
    let all = migrator([BOOKS, SHELF, INDEX, PRICE]);
    let outcome = run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap();
    assert_eq!(outcome.applied, ["m2_shelf", "m3_index", "m4_price"]);
    writing.await.unwrap();
    assert_eq!(version(&plain).await, "m4_price");
    assert_eq!(valid_indexes(&plain).await, ["books_pkey", "books_title_idx"]);
    let outcome = run(&plain, &city, &all, &Action::Down(2), NO_LIMIT).await.unwrap();
    assert_eq!(outcome.rolled_back, ["m4_price", "m3_index"]);
    assert_eq!(valid_indexes(&plain).await, ["books_pkey"]);
}

#[tokio::test]
async fn steps_done_by_another_run_are_skipped() {
    let (_db, plain, city) = city().await;
    // After the non-transactional step the lock is free, and m4_price is applied.
    let meanwhile = Sql {
        up: "ALTER TABLE books ADD COLUMN price int;
             INSERT INTO city.seaql_migrations VALUES ('m4_price', 0)",
        ..INDEX
    };
    let all = migrator([BOOKS, SHELF, meanwhile, PRICE]);
    let outcome = run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap();
    assert_eq!(outcome.applied, ["m2_shelf", "m3_index"]);
    assert_eq!(columns(&plain).await, "isbn title shelf price");
    assert_eq!(version(&plain).await, "m4_price");
}

#[tokio::test]
async fn new_tenant_gets_concurrent_index_in_its_transaction() {
    let (db, plain, _) = city().await;
    let migrations = sql_migrator([BOOKS, SHELF, INDEX, PRICE]);
    let tenancy = Tenancy::connect(&Config::new(db.url(), migrations)).await.unwrap();
    let record = tenancy.create(NewTenant::new(slug("village"))).await.unwrap();
    assert_eq!(record.schema_version.as_deref(), Some("m4_price"));
    let sql = "SELECT indisvalid::text FROM pg_index
               WHERE indexrelid = 'village.books_title_idx'::regclass AND indisunique";
    assert_eq!(texts(&plain, sql).await, ["true"]);
}

#[tokio::test]
async fn failed_index_is_built_after_rows_are_fixed() {
    let (_db, plain, city) = city().await;
    plain.execute_unprepared("INSERT INTO city.books VALUES ('2', 'Emma')").await.unwrap();
    let all = migrator([BOOKS, SHELF, INDEX, PRICE]);
    let error = run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap_err();
    assert!(
        error.to_string().contains("m3_index") && error.to_string().contains("23505"),
        "{error}"
    );
    // Earlier steps stay; the failed build has left an invalid index.
    assert_eq!(version(&plain).await, "m2_shelf");
    let left = "SELECT count(*)::text FROM pg_index WHERE NOT indisvalid";
    assert_eq!(texts(&plain, left).await, ["1"]);
    plain.execute_unprepared("DELETE FROM city.books WHERE isbn = '2'").await.unwrap();
    run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap();
    assert_eq!(
        (texts(&plain, left).await, version(&plain).await),
        (vec!["0".into()], "m4_price".into())
    );
    assert_eq!(valid_indexes(&plain).await, ["books_pkey", "books_title_idx"]);
}

#[tokio::test]
async fn existing_index_without_record_is_accepted() {
    let (_db, plain, city) = city().await;
    let all = migrator([BOOKS, SHELF, INDEX, PRICE]);
    run(&plain, &city, &migrator([BOOKS, SHELF, INDEX]), &Action::Up(None), NO_LIMIT)
        .await
        .unwrap();
    // As if the program had been killed in between.
    let forget = "DELETE FROM city.seaql_migrations WHERE version = 'm3_index'";
    plain.execute_unprepared(forget).await.unwrap();
    let outcome = run(&plain, &city, &all, &Action::Up(None), NO_LIMIT).await.unwrap();
    assert_eq!(outcome.applied, ["m3_index", "m4_price"]);
    assert_eq!(valid_indexes(&plain).await, ["books_pkey", "books_title_idx"]);
}

#[tokio::test]
async fn fresh_works_if_the_first_migration_is_non_transactional() {
    let (_db, plain, city) = city().await;
    let all = migrator([Sql { alone: true, ..BOOKS }, SHELF]);
    let brief = Timeouts { lock: Some(Duration::from_millis(500)), ..Timeouts::default() };
    let outcome = run(&plain, &city, &all, &Action::Fresh { cascade: false }, brief).await.unwrap();
    assert_eq!(outcome.applied, ["m1_books", "m2_shelf"]);
    assert_eq!(columns(&plain).await, "isbn title shelf");
}

async fn valid_indexes(db: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT indexrelid::regclass::text FROM pg_index
               WHERE indrelid = 'city.books'::regclass AND indisvalid ORDER BY 1";
    let names = texts(db, sql).await;
    names.into_iter().map(|name| name.trim_start_matches("city.").to_owned()).collect()
}
