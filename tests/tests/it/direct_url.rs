//! Tenants' statements on one URL, everything else on another one, as through a pooler in transaction
//! mode: what is sent where, and what is refused. Poolers themselves are in `poolers`.

mod command;
mod traffic;

use sea_orm::{ConnectOptions, ConnectionTrait, DbErr, TransactionTrait};
use tenantry::{Config, Error, Misuse, PoolerError, Tenancy, Tenant};
use tenantry_migrate::connect::ConnectError;

use crate::support::{
    TestDb, abu,
    catalog::texts,
    pooler::{Mode, Pooler},
    slug,
};

/// A database whose sessions have the settings that the program does not send.
async fn prepared() -> TestDb {
    let db = TestDb::new().await;
    let (plain, name) = (db.plain().await, db.name());
    for setting in [
        "search_path = pg_catalog",
        "statement_timeout = '20s'",
        "idle_in_transaction_session_timeout = '30s'",
    ] {
        let sql = format!("ALTER ROLE postgres IN DATABASE {name} SET {setting}");
        plain.execute_unprepared(&sql).await.unwrap();
    }
    db
}

/// As through a pooler. Both URLs lead to the server itself.
fn config(db: &TestDb) -> Config {
    db.config().direct_url(named(db, "direct"))
}

fn named(db: &TestDb, application: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(db.url());
    options.set_application_name(application).sqlx_logging(false);
    options
}

/// A tenant on a single pooled connection.
async fn with_tenant(db: &TestDb) -> (Tenancy, Tenant) {
    let config = Config { max_connections: 1, ..config(db) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(tenantry::NewTenant::new(slug("tenant-1"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    (tenancy, tenant)
}

fn needs_session(error: &DbErr) -> bool {
    matches!(Misuse::find(error), Some(Misuse::NeedsSession { .. }))
}

#[tokio::test]
async fn what_would_stay_in_a_session_is_refused_and_what_ends_with_the_transaction_is_not() {
    let db = prepared().await;
    let (tenancy, tenant) = with_tenant(&db).await;
    let shared = tenancy.shared();
    let never = [
        "SET work_mem = '8MB'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "RESET ALL",
        "LISTEN a",
        "CREATE TEMP TABLE a (b int)",
        "SELECT 1 AS a INTO TEMP b",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock(1)",
        "PREPARE p AS SELECT 1",
        "DISCARD ALL",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT 1; SET work_mem = '8MB'",
    ];
    for sql in never {
        let (txn, of_shared) =
            (tenant.begin().await.unwrap(), shared.execute_unprepared(sql).await);
        for refused in
            [tenant.execute_unprepared(sql).await, of_shared, txn.execute_unprepared(sql).await]
        {
            assert!(needs_session(&refused.unwrap_err()), "{sql}");
        }
        // The transaction goes on: nothing was sent.
        txn.execute_unprepared(r#"DELETE FROM "@tenant"."guards""#).await.unwrap();
        txn.commit().await.unwrap();
    }
    for sql in [
        "DO $$ BEGIN PERFORM set_config('a.b', 'c', false); END $$",
        "SELECT set_config('a.b', 'c', false)",
        "SELECT set_config('a.b', 'c', true)",
    ] {
        assert!(needs_session(&tenant.execute_unprepared(sql).await.unwrap_err()), "{sql}");
    }
    let txn = tenant.begin().await.unwrap();
    for sql in [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET LOCAL work_mem = '8MB'",
        "SELECT pg_advisory_xact_lock(1)",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH c",
        "NOTIFY a",
        r#"LOCK TABLE "@tenant"."guards""#,
    ] {
        txn.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    txn.commit().await.unwrap();
    // Outside a transaction, each is one of its own.
    for sql in ["NOTIFY a", r#"TRUNCATE "@tenant"."guards" CASCADE"#, "SHOW work_mem"] {
        tenant.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// What is left in the single session.
async fn left(tenant: &Tenant) -> Vec<String> {
    let sql = "SELECT concat_ws('/', nullif(current_setting('a.b', true), ''),
        (SELECT string_agg(locktype, ',') FROM pg_locks
            WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        current_setting('search_path'), current_setting('statement_timeout'))";
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
    let rows = tenant.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test]
async fn what_a_function_leaves_in_a_session_ends_with_its_transaction() {
    let db = prepared().await;
    let (_tenancy, tenant) = with_tenant(&db).await;
    let leaving = "DO $$ BEGIN PERFORM set_config('a.b', 'c', false); PERFORM set_config(
        'search_path', 'public', false); PERFORM pg_advisory_lock(7); END $$";
    for end in ["commit", "rollback", "drop", "fail"] {
        let txn = tenant.begin().await.unwrap();
        txn.execute_unprepared(leaving).await.unwrap();
        match end {
            "commit" => txn.commit().await.unwrap(),
            "rollback" => txn.rollback().await.unwrap(),
            "drop" => drop(txn),
            _ => {
                txn.execute_unprepared("SELECT 1 / 0").await.unwrap_err();
                txn.rollback().await.unwrap();
            }
        }
        assert_eq!(left(&tenant).await, ["pg_catalog/20s"], "{end}");
    }
    let txn = tenant.begin_with_search_path().await.unwrap();
    txn.execute_unprepared("SELECT count(*) FROM guards").await.unwrap();
    sea_orm::ActiveModelTrait::insert(abu(), &txn).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(left(&tenant).await, ["pg_catalog/20s"]);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_through_a_pooler_is_refused() {
    let db = prepared().await;
    let refusal = async |config: Config| match Tenancy::connect(&config).await {
        Err(Error::Pooler(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let refused = refusal(Config { statement_cache: Some(0), ..config(&db) }).await;
    assert!(matches!(refused, PoolerError::NoStatementCache), "{refused}");
    let mut options = named(&db, "pooled");
    options.after_connect(|connection| {
        Box::pin(async move {
            connection.execute_unprepared("CREATE TABLE public.left (id int)").await.map(drop)
        })
    });
    let refused = refusal(Config { connect_options: options, ..config(&db) }).await;
    assert!(matches!(refused, PoolerError::AfterConnect), "{refused}");
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(texts(&db.plain().await, tables).await, [""; 0]);
    // The direct URL is one.
    let pooler = Pooler::new(Mode::Transaction).await;
    let refused = refusal(db.config().direct_url(pooler.url(db.name()))).await;
    assert!(matches!(refused, PoolerError::Direct(ConnectError::SharedSessions)), "{refused}");
    let refused = refusal(db.config().direct_url("postgres://me:hunter2@localhost:1/d")).await;
    let text = refused.to_string();
    assert!(!text.contains("DATABASE_URL") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_role_that_loses_its_settings_gets_no_further_connection() {
    let db = prepared().await;
    let within = std::time::Duration::from_secs(3);
    let tenancy =
        Tenancy::connect(&Config { acquire_timeout: within, ..config(&db) }).await.unwrap();
    tenancy.create(tenantry::NewTenant::new(slug("tenant-1"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    let reset = format!("ALTER ROLE postgres IN DATABASE {} RESET search_path", db.name());
    db.plain().await.execute_unprepared(&reset).await.unwrap();
    // Open connections are used, and another one is opened when all are held.
    let mut held = Vec::new();
    let error = loop {
        match tenant.begin().await {
            Ok(txn) => held.push(txn),
            Err(error) => break error,
        }
    };
    assert!(!held.is_empty());
    assert!(matches!(PoolerError::find(&error), Some(PoolerError::Settings { .. })), "{error}");
}
