//! A pooler between the programs and the server: everything works in session mode, and transaction
//! mode is refused. Waiting for a pooler without free sessions has a bound.

mod faults;
mod load;
mod refused;
mod selection;
mod statements;

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use tenantry::{Config, Error, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Target, Timeouts,
    connect::{ConnectError, connect_pool},
    run,
};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    database::connect,
    pooler::{Mode, Pooler},
    process::Ran,
    slug,
    sql_migration::{BOOKS, INDEX, sql_migrator},
};

const SENTENCE: &str = "error: the connection goes through a pooler in transaction mode. Connect to \
    PostgreSQL directly, or to a pooler in session mode, or give a URL past the pooler as well \
    (TENANTRY_DIRECT_URL)\n";

/// Runs a command, whose first word is the program, while the pooler runs.
async fn ran(url: String, words: &'static str) -> Ran {
    let run = move || {
        let (program, arguments) = words.split_once(' ').unwrap();
        Ran::on(program, &url, &arguments.split(' ').collect::<Vec<_>>())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn in_transaction_mode_every_command_is_refused_with_the_same_sentence() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let rows = "SELECT t::text FROM registry.tenants t ORDER BY id";
    let before = (texts(&plain, rows).await, schemas(&plain).await);
    for mode in [Mode::Transaction, Mode::InTurn] {
        let pooler = Pooler::new(mode).await;
        let url = || pooler.url(db.name());
        // The pooler has sessions of earlier clients and of others.
        let others = connect(&url()).await;
        let at_once = (0..3).map(|_| others.execute_unprepared("SELECT 1"));
        futures_util::future::join_all(at_once).await;
        for words in [
            "migration up --all",
            "migration up --registry",
            "migration redo --tenant tenant-1",
            "migration up --schema tenant_1",
            "migration up --all --dry-run",
            "migration status",
            "migration status --registry",
            "migration list --tenant tenant-1",
            "migration verify --all",
            "migration check",
            "tenantry tenant list",
            "tenantry tenant create tenant-3",
            "tenantry tenant drop tenant-1 --yes",
            "tenantry serve",
        ] {
            let ran = ran(url(), words).await.exits(1);
            assert_eq!((ran.stderr.as_str(), ran.stdout.as_str()), (SENTENCE, ""), "{words}");
        }
        let refused = Tenancy::connect(&Config { connect_options: url().into(), ..db.config() })
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Connect(ConnectError::SharedSessions)), "{refused}");
        let refused = connect_pool(&url(), 1).await.unwrap_err();
        assert!(matches!(refused, ConnectError::SharedSessions), "{refused}");
    }
    assert_eq!((texts(&plain, rows).await, schemas(&plain).await), before);
}

#[tokio::test]
async fn in_session_mode_every_command_works() {
    let db = TestDb::new().await;
    let pooler = Pooler::new(Mode::Session).await;
    for words in [
        "migration up --registry",
        "tenantry tenant create tenant-1",
        "tenantry tenant create tenant-2",
        "migration redo --all --yes",
        "migration status",
        "migration verify --all",
        "tenantry tenant drop tenant-1 --yes",
        "tenantry tenant list",
    ] {
        ran(pooler.url(db.name()), words).await.exits(0);
    }
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry", "tenant_2"]);
}

#[tokio::test]
async fn detects_transaction_mode_with_a_single_session() {
    let db = TestDb::new().await;
    let pooler = Pooler::with_room(Mode::Session, 1).await;
    let status = ran(pooler.url(db.name()), "migration status").await.exits(0);
    assert_eq!((status.stdout.as_str(), status.stderr.as_str()), ("No tenants.\n", ""));
    // Commands that need more sessions report that.
    let list = ran(pooler.url(db.name()), "tenantry tenant list").await.exits(1);
    list.complains(["not answered within", "Increase their number"]);
}

#[tokio::test]
async fn waits_for_a_pooler_without_free_sessions_for_a_bounded_time() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    let pooler = Pooler::with_room(Mode::Session, 2).await;
    let url = || pooler.url(db.name());
    let mut held = Vec::new();
    for _ in 0..2 {
        let other = connect(&url()).await;
        other.execute_unprepared("SELECT 1").await.unwrap();
        held.push(other);
    }
    let started = Instant::now();
    let reason = "the first statement was not answered within";
    let remedy = "Increase their number";
    for words in ["migration status", "migration up --all", "tenantry tenant list"] {
        let ran = ran(url(), words).await.exits(1).complains([reason, remedy]);
        assert!(ran.stderr.contains("127.0.0.1"), "{ran:#?}");
    }
    let within = Duration::from_millis(500);
    let config = Config { connect_options: url().into(), acquire_timeout: within, ..db.config() };
    let error = Tenancy::connect(&config).await.unwrap_err().to_string();
    assert!(error.contains("not answered within 500ms"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());

    // A session that becomes free is used.
    held.pop().unwrap().close().await.unwrap();
    ran(url(), "migration status").await.exits(0);
}

#[tokio::test]
async fn a_statement_that_needs_one_connection_more_than_the_pooler_has_fails_in_time() {
    let db = TestDb::new().await;
    let pooler = Pooler::with_room(Mode::Session, 4).await;
    let within = Duration::from_millis(700);
    let config = Config {
        connect_options: pooler.url(db.name()).into(),
        acquire_timeout: within,
        ..db.config()
    };
    // Two for tenants, since the listener and the resolution of tenants have one each.
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut transactions = Vec::new();
    let mut failed = None;
    let started = Instant::now();
    for name in ["tenant-1", "tenant-2", "tenant-3", "tenant-4"] {
        let plain = db.tenancy().await;
        plain.create(NewTenant::new(slug(name))).await.unwrap();
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        match sea_orm::TransactionTrait::begin(&tenant).await {
            Ok(txn) => transactions.push(txn),
            Err(error) => failed = Some(error.to_string()),
        }
    }
    assert!((1..=3).contains(&transactions.len()), "{}", transactions.len());
    let failed = failed.unwrap();
    assert!(failed.contains("not answered within"), "{failed}");
    assert!(started.elapsed() < Duration::from_secs(30));
    // The others continue, and so does the next when one ends.
    transactions.pop().unwrap().rollback().await.unwrap();
    tenancy.tenant(&slug("tenant-4")).await.unwrap();
}

#[tokio::test]
async fn a_non_transactional_migration_waits_for_its_session_for_a_bounded_time() {
    let db = TestDb::new().await;
    let old = Tenancy::connect(&Config::new(db.url(), sql_migrator([BOOKS]))).await.unwrap();
    old.create(NewTenant::new(slug("city"))).await.unwrap();
    old.close().await;
    // The lock takes the only session.
    let pooler = Pooler::with_room(Mode::Session, 1).await;
    let mut options = sea_orm::ConnectOptions::new(pooler.url(db.name()));
    options.max_connections(1).sqlx_logging(false);
    let pooled = tenantry_migrate::connect::open(options).await.unwrap();
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, INDEX]));
    let target = Target::Schema("city".parse().unwrap());
    let started = Instant::now();
    let ran = run(&pooled, &target, &migrator, &Action::Up(None), Timeouts::default()).await;
    let error = ran.unwrap_err().to_string();
    assert!(error.contains("not answered within 10s. A pooler delays it"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
