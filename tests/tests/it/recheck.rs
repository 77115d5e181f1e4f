//! A statement that fails because its tenant has changed returns the tenant's unavailability, not
//! the SQL error.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, StreamTrait, TransactionTrait,
};
use tenantry::{Availability, Config, DbErrorKind, NewTenant, Tenancy, Tenant, TenantUnavailable};

use crate::support::{
    TestDb, slug,
    sql_migration::{BOOKS, sql_migrator},
};

/// The changes of a breaking migration of the next release, in one transaction. Without a
/// notification, as if the process had not received it yet.
const BREAK: &str = "BEGIN; ALTER TABLE city.books RENAME isbn TO isbn13;
    INSERT INTO city.seaql_migrations VALUES ('m3_isbn13', 0);
    UPDATE registry.tenants SET schema_version = 'm3_isbn13', breaking = '{m3_isbn13}',
        migrations = '{m1_books,m3_isbn13}' WHERE slug = 'city'; COMMIT";
const GO_BACK: &str = "BEGIN; DROP TABLE city.books;
    UPDATE registry.tenants SET schema_version = NULL, migrations = '{}'; COMMIT";
const DROP: &str = "BEGIN; DROP SCHEMA city CASCADE;
    UPDATE registry.tenants SET status = 'dropped', dropped_at = now(), dropped_by = 'x'
    WHERE slug = 'city'; COMMIT";
const MARK: &str = "BEGIN; DROP TABLE city.books;
    UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'city'; COMMIT";
const SUSPEND: &str = "BEGIN; ALTER TABLE city.books RENAME TO old_books;
    UPDATE registry.tenants SET status = 'suspended' WHERE slug = 'city'; COMMIT";

async fn city(db: &TestDb) -> (Tenancy, Tenant, DatabaseConnection) {
    let mut config = Config::new(db.url(), sql_migrator([BOOKS]));
    // No change is detected by expiry.
    config.cache_ttl = Duration::from_secs(3600);
    config.max_waiting = 1000;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("city")).await.unwrap();
    (tenancy, tenant, db.plain().await)
}

fn isbns() -> Statement {
    Statement::from_string(DbBackend::Postgres, r#"SELECT isbn FROM "@tenant"."books""#)
}

#[track_caller]
fn availability(error: &DbErr) -> Availability {
    TenantUnavailable::find(error).unwrap_or_else(|| panic!("{error}")).availability
}

#[tokio::test]
async fn a_failed_statement_is_refused_with_the_availability_of_its_tenant() {
    for (change, expected) in [
        (BREAK, Availability::Ahead),
        (GO_BACK, Availability::Behind),
        (DROP, Availability::Dropped),
        (MARK, Availability::Dropped),
        (SUSPEND, Availability::Suspended),
    ] {
        let db = TestDb::new().await;
        let (_tenancy, tenant, plain) = city(&db).await;
        tenant.query_all_raw(isbns()).await.unwrap();
        plain.execute_unprepared(change).await.unwrap();
        assert_eq!(availability(&tenant.query_all_raw(isbns()).await.unwrap_err()), expected);
        assert_eq!(availability(&tenant.query_one_raw(isbns()).await.unwrap_err()), expected);
        assert_eq!(availability(&tenant.execute_raw(isbns()).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn in_transactions_streams_and_bare_sql_too() {
    for (change, expected) in [(BREAK, Availability::Ahead), (DROP, Availability::Dropped)] {
        let db = TestDb::new().await;
        let (_tenancy, tenant, plain) = city(&db).await;
        // Neither has a lock on the table that would block the change.
        let started = [tenant.begin().await.unwrap(), tenant.begin().await.unwrap()];
        let bare = tenant.begin_with_search_path().await.unwrap();
        plain.execute_unprepared(change).await.unwrap();
        let [txn, streaming] = started;
        assert_eq!(availability(&txn.query_all_raw(isbns()).await.unwrap_err()), expected);
        txn.rollback().await.unwrap();
        let sql = "SELECT isbn FROM books";
        let sql = Statement::from_string(DbBackend::Postgres, sql);
        let error = bare.query_all_raw(sql).await.unwrap_err();
        assert_eq!(availability(&error), expected, "{error}");
        drop(bare);
        {
            let mut rows = match streaming.stream_raw(isbns()).await {
                Ok(rows) => rows,
                Err(error) => {
                    assert_eq!(availability(&error), expected);
                    continue;
                }
            };
            assert_eq!(availability(&rows.next().await.unwrap().err().unwrap()), expected);
        }
        if expected == Availability::Ahead {
            let sql = r#"SELECT isbn FROM "@tenant".books"#;
            assert_eq!(availability(&tenant.execute_unprepared(sql).await.unwrap_err()), expected);
            let mut rows = tenant.stream_raw(isbns()).await.unwrap();
            assert_eq!(availability(&rows.next().await.unwrap().err().unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn an_unrelated_error_is_returned_unchanged() {
    let db = TestDb::new().await;
    let (_tenancy, tenant, plain) = city(&db).await;
    let failing = |sql: &str| {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let tenant = tenant.clone();
        async move { tenant.query_all_raw(statement).await.unwrap_err() }
    };
    let cases = [
        (r#"SELECT shelf FROM "@tenant"."books""#, "42703"),
        (r#"SELECT 1 FROM "@tenant"."loans""#, "42P01"),
        (r#"SELECT no_such_function(1)"#, "42883"),
        (r#"SELECT isbn::no_such_type FROM "@tenant"."books""#, "42704"),
        (r#"SELEC 1"#, "42601"),
        (r#"SELECT 1 / 0"#, "22012"),
    ];
    for (sql, code) in cases {
        let error = failing(sql).await;
        assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some(code), "{error}");
    }
    // The row of another tenant does not matter.
    let other = "INSERT INTO registry.tenants (id, slug, schema, status, metadata, inserted_at,
        updated_at) VALUES (gen_random_uuid(), 'town', 'town', 'suspended', '{}', now(), now())";
    plain.execute_unprepared(other).await.unwrap();
    let error = failing(cases[0].0).await;
    assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("42703"), "{error}");
    // If the registry cannot be read, the error is returned, without a long delay.
    plain.execute_unprepared("ALTER TABLE registry.tenants RENAME TO elsewhere").await.unwrap();
    let error = failing(cases[0].0).await;
    assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("42703"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_statements_that_fail_at_once_ask_the_registry_a_few_times() {
    let db = TestDb::new().await;
    let (_tenancy, tenant, plain) = city(&db).await;
    plain.execute_unprepared(BREAK).await.unwrap();
    let looks = |db: &TestDb| {
        let all = db.statements().into_iter();
        all.filter(|sql| sql.contains(r#""tenants"."id" = ANY"#)).count()
    };
    let before = looks(&db);
    let all = (0..1000).map(|_| {
        let tenant = tenant.clone();
        tokio::spawn(async move { tenant.query_all_raw(isbns()).await.unwrap_err() })
    });
    for error in join_all(all).await {
        assert_eq!(availability(&error.unwrap()), Availability::Ahead);
    }
    let looks = looks(&db) - before;
    assert!((1..50).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn a_pool_full_of_transactions_reports_errors_in_time() {
    let db = TestDb::new().await;
    let config = Config {
        max_connections: 3,
        tenant_share: 100,
        reserved_connections: 0,
        ..Config::new(db.url(), sql_migrator([BOOKS]))
    };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("city")).await.unwrap();
    let begin = || async { tenant.begin().await.unwrap() };
    let transactions = [begin().await, begin().await, begin().await];
    let wrong = || {
        let sql = r#"SELECT shelf FROM "@tenant"."books""#;
        Statement::from_string(DbBackend::Postgres, sql)
    };
    let fail = transactions.iter().map(|txn| txn.query_all_raw(wrong()));
    let all = tokio::time::timeout(Duration::from_secs(8), join_all(fail)).await.unwrap();
    for error in all.into_iter().map(Result::unwrap_err) {
        assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("42703"), "{error}");
    }
}
