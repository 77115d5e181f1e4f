//! Migration when a program starts, `Tenancy::migrate_all`.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry::{Availability, Config, Error, NewTenant, OwnerError, Tenancy};
use tenantry_migrate::SharedMigrator;

use crate::support::{
    TestDb,
    catalog::{schemas, tables, texts},
    slug,
    sql_migration::{BOOKS, PRICE, SHELF, Sql, sql_migrator},
};

const PLANS: Sql = Sql {
    name: "m1_plans",
    up: "CREATE TABLE plans (id int CONSTRAINT plans_pkey PRIMARY KEY)",
    down: "DROP TABLE plans",
    ..BOOKS
};

const VERSIONS: &str = "SELECT slug || ' ' || schema_version FROM registry.tenants ORDER BY slug";

/// A database in which nothing was ever migrated.
async fn empty() -> TestDb {
    let db = TestDb::new().await;
    db.plain().await.execute_unprepared("DROP SCHEMA registry CASCADE").await.unwrap();
    db
}

/// A program with these migrations.
fn release<const N: usize>(db: &TestDb, migrations: [Sql; N]) -> Config {
    Config::new(db.url(), sql_migrator(migrations))
        .shared_migrator(SharedMigrator::new(sql_migrator([PLANS])))
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_at_once_on_an_empty_database_are_all_ready() {
    let db = empty().await;
    let config = release(&db, [BOOKS, SHELF]);
    let refused = Tenancy::connect(&config).await.unwrap_err();
    assert!(matches!(refused, Error::RegistryBehind { .. }), "{refused}");
    let started = (0..5).map(|number| {
        let config = config.clone();
        tokio::spawn(async move {
            Tenancy::migrate_all(&config).await.unwrap();
            let tenancy = Tenancy::connect(&config).await.unwrap();
            tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
        })
    });
    join_all(started).await.into_iter().for_each(Result::unwrap);
    let plain = db.plain().await;
    let made = tables(&plain).await;
    assert!(made.contains(&"shared.plans".to_owned()), "{made:?}");
    assert_eq!(texts(&plain, VERSIONS).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_next_release_migrate_all_tenants_and_each_once() {
    let db = empty().await;
    let plain = db.plain().await;
    let old = release(&db, [BOOKS]);
    Tenancy::migrate_all(&old).await.unwrap();
    let tenancy = Tenancy::connect(&old).await.unwrap();
    for number in 0..12 {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
    }
    let new = release(&db, [BOOKS, SHELF, PRICE]);
    let started = (0..3).map(|_| {
        let new = new.clone();
        tokio::spawn(async move { Tenancy::migrate_all(&new).await })
    });
    for migrated in join_all(started).await {
        migrated.unwrap().unwrap();
    }
    let current = "SELECT count(*)::text FROM registry.tenants WHERE schema_version = 'm4_price'";
    assert_eq!(texts(&plain, current).await, ["12"]);
    let tenancy = Tenancy::connect(&new).await.unwrap();
    tenancy.tenant(&slug("tenant-7")).await.unwrap();

    // The old program starts again: what the new one has migrated is not an error.
    let before = texts(&plain, VERSIONS).await;
    Tenancy::migrate_all(&old).await.unwrap();
    assert_eq!(texts(&plain, VERSIONS).await, before);
    let failed = "SELECT count(*)::text FROM registry.tenants WHERE migration_error IS NOT NULL";
    assert_eq!(texts(&plain, failed).await, ["0"]);

    // Nothing is pending: nothing is changed.
    let statements = db.statements().len();
    Tenancy::migrate_all(&new).await.unwrap();
    let statements = db.statements().split_off(statements);
    let changes = ["CREATE", "ALTER", "INSERT", "UPDATE", "DROP"];
    let changing = |sql: &&String| changes.iter().any(|word| sql.trim_start().starts_with(word));
    assert_eq!(statements.iter().filter(changing).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn tenants_that_cannot_be_migrated_are_named_and_the_others_are_migrated() {
    let db = empty().await;
    let plain = db.plain().await;
    let old = release(&db, [BOOKS]);
    Tenancy::migrate_all(&old).await.unwrap();
    let tenancy = Tenancy::connect(&old).await.unwrap();
    for name in ["one", "broken", "two"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    plain.execute_unprepared("DROP TABLE broken.books").await.unwrap();
    let new = release(&db, [BOOKS, SHELF]);
    let error = Tenancy::migrate_all(&new).await.unwrap_err();
    match &error {
        Error::TenantsNotMigrated { failures, not_started: 0 } => {
            assert_eq!((failures.len(), failures[0].0.as_str()), (1, "broken"));
        }
        other => panic!("{other}"),
    }
    let text = error.to_string();
    assert!(text.starts_with("1 tenants could not be migrated: broken: "), "{text}");
    assert_eq!(texts(&plain, VERSIONS).await, ["broken m1_books", "one m2_shelf", "two m2_shelf"]);
    // The program can serve the others.
    let tenancy = Tenancy::connect(&new).await.unwrap();
    tenancy.tenant(&slug("two")).await.unwrap();
    match tenancy.tenant(&slug("broken")).await.unwrap_err() {
        Error::Unavailable(it) => assert_eq!(it.availability, Availability::Behind),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_tables_of_another_application_are_not_touched() {
    let db = empty().await;
    Tenancy::migrate_all(&release(&db, [BOOKS])).await.unwrap();
    let plain = db.plain().await;
    let before = (schemas(&plain).await, tables(&plain).await);
    let other = Config::new(db.url(), sql_migrator([SHELF]))
        .shared_migrator(SharedMigrator::new(sql_migrator([PLANS, PRICE])));
    let error = Tenancy::migrate_all(&other).await.unwrap_err();
    assert!(error.to_string().contains("application"), "{error}");
    assert_eq!((schemas(&plain).await, tables(&plain).await), before);
}

#[tokio::test]
async fn an_owners_url_of_another_database_migrates_neither() {
    let (db, other) = (empty().await, empty().await);
    let config = release(&db, [BOOKS]).owner_url(other.url());
    let error = Tenancy::migrate_all(&config).await.unwrap_err();
    assert!(matches!(error, Error::Owner(OwnerError::OtherDatabase)), "{error}");
    for db in [&db, &other] {
        assert_eq!(schemas(&db.plain().await).await, ["public"]);
    }
    Tenancy::migrate_all(&config.owner_url(db.url())).await.unwrap();
}

/// As a long report does.
#[tokio::test]
async fn a_table_that_is_in_use_ends_the_wait_with_an_error() {
    let db = empty().await;
    let plain = db.plain().await;
    let old = release(&db, [BOOKS]);
    Tenancy::migrate_all(&old).await.unwrap();
    let tenancy = Tenancy::connect(&old).await.unwrap();
    tenancy.create(NewTenant::new(slug("one"))).await.unwrap();
    let reading = plain.begin().await.unwrap();
    reading.execute_unprepared("SELECT FROM one.books").await.unwrap();
    let new = release(&db, [BOOKS, SHELF]);
    let migrating = Tenancy::migrate_all(&new);
    let error = tokio::time::timeout(Duration::from_secs(120), migrating).await.unwrap();
    assert!(matches!(error, Err(Error::TenantsNotMigrated { .. })), "{error:?}");
    reading.rollback().await.unwrap();
    Tenancy::migrate_all(&new).await.unwrap();
}
