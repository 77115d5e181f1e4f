//! Drops of tenants that have many tables or are in use.

mod dependents;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use entity::guard;
use futures_util::future::join_all;
use local_postgres::Server;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, PaginatorTrait, Statement,
    TransactionTrait,
};
use tenantry::{Availability, Config, Error, NewTenant, Tenancy, TenantUnavailable};
use tenantry_migrate::{Action, DbErrorKind, DynMigrator, Target, Timeouts, registry, run};

use crate::support::{
    TestDb,
    catalog::{schemas, schemas_with, texts},
    database::connect,
    process::Ran,
    slug,
};

/// Creates tables with a key, an index and a text, two hundred in each transaction.
async fn fill(db: &DatabaseConnection, schema: &str, tables: usize) {
    for first in (0..tables).step_by(200) {
        let last = (first + 200).min(tables) - 1;
        let some = format!(
            "DO $$ BEGIN FOR n IN {first}..{last} LOOP
             EXECUTE format('CREATE TABLE {schema}.t%s (id uuid PRIMARY KEY, name text)', n);
             EXECUTE format('CREATE INDEX ON {schema}.t%s (name)', n); END LOOP; END $$"
        );
        db.execute_unprepared(&some).await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_with_3000_tables_is_dropped_on_a_server_with_default_settings() {
    let server = tokio::task::spawn_blocking(|| {
        Server::temporary(&[("max_connections", "100"), ("max_locks_per_transaction", "64")])
    });
    let server = server.await.unwrap().unwrap();
    let url = server.url("postgres");
    let plain = connect(&url).await;
    let migrator = DynMigrator::new(registry::Migrator);
    let (up, no_limit) = (Action::Up(None), Timeouts::default());
    run(&plain, &Target::Registry, &migrator, &up, no_limit).await.unwrap();
    let tenancy = Tenancy::connect(&Config::new(&url, migration::Migrator)).await.unwrap();
    for name in ["tenant-1", "tenant-2"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    fill(&plain, "tenant_1", 3000).await;

    let txn = plain.begin().await.unwrap();
    let at_once = txn.execute_unprepared("DROP SCHEMA tenant_1 CASCADE").await.unwrap_err();
    assert_eq!(DbErrorKind::sqlstate(&at_once).as_deref(), Some("53200"), "{at_once}");
    // The error is reported before its locks are released.
    txn.rollback().await.unwrap();
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_2"]);
    assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
    tenancy.tenant(&slug("tenant-2")).await.unwrap();
}

#[tokio::test]
async fn everything_in_a_schema_is_dropped_in_batches() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    fill(&plain, "tenant_1", 200).await;
    let script = "BEGIN; SET LOCAL search_path = tenant_1;
        CREATE TABLE parts (id int) PARTITION BY LIST (id);
        DO $$ BEGIN FOR n IN 1..60 LOOP
            EXECUTE format('CREATE TABLE part_%s PARTITION OF parts FOR VALUES IN (%s)', n, n);
            EXECUTE format('CREATE VIEW view_%s AS SELECT * FROM %s', n,
                CASE n WHEN 1 THEN 'parts' ELSE 'view_' || n - 1 END);
            EXECUTE format('CREATE SEQUENCE alone_%s', n);
        END LOOP; END $$;
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM view_60;
        CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, other serial);
        CREATE TABLE refers (id int REFERENCES numbered (id));
        CREATE TABLE child () INHERITS (refers);
        CREATE TABLE \"it's; \"\"quoted\"\"\" (id int);
        CREATE TYPE colour AS ENUM ('red'); CREATE TYPE pair AS (a int, b colour);
        CREATE FUNCTION f(t0) RETURNS pair LANGUAGE sql AS 'SELECT NULL::pair';
        CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
        CREATE FOREIGN TABLE far (id int) SERVER nowhere;
        COMMIT";
    plain.execute_unprepared(script).await.unwrap();
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_2"]);
    assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
    let dropped = db.statements().into_iter().filter(|sql| sql.contains("TABLE IF EXISTS")).count();
    assert!(dropped > 4, "{dropped} messages dropped tables");
    Ran::on("migration", &db.url(), &["verify", "--all"]).exits(0);
}

#[tokio::test]
async fn a_tenant_that_is_being_dropped_can_only_be_dropped() {
    let db = TestDb::new().await;
    let (tenancy, [one, _]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    // The state after an interrupted drop.
    texts(&plain, "DROP TABLE tenant_1.shifts").await;
    texts(&plain, "UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'tenant-1'").await;
    let elsewhere = db.tenancy().await;
    let error = elsewhere.tenant(one.slug()).await.unwrap_err();
    let dropped = Availability::Dropped;
    assert!(
        matches!(&error, Error::Unavailable(TenantUnavailable { availability, .. }) if *availability == dropped)
    );
    let error = elsewhere.create(NewTenant::new(slug("tenant-1"))).await.unwrap_err();
    assert!(matches!(error, Error::SlugTaken(_)), "{error}");

    let list = Ran::on("tenantry", &db.url(), &["tenant", "list"]).exits(0).stdout;
    let line = list.lines().find(|line| line.contains("tenant-1")).unwrap();
    assert!(line.contains("dropping"), "{list}");
    for command in ["up --all", "down --all --yes"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let ran = Ran::on("migration", &db.url(), &arguments).exits(0);
        assert!(!ran.stdout.contains("tenant-1"), "{}", ran.stdout);
    }
    let ran = Ran::on("migration", &db.url(), &["up", "--tenant", "tenant-1"]).exits(1);
    ran.complains([
        "tenant \"tenant-1\" is being dropped; nothing was changed. `tenantry tenant drop tenant-1` \
         finishes the drop",
    ]);

    Ran::on("tenantry", &db.url(), &["tenant", "drop", "tenant-1", "--yes"]).exits(0);
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_2"]);
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
}

/// A session of another program that reads the tenant's guards in a long transaction; returns its
/// process.
async fn report(db: &TestDb) -> (sea_orm::DatabaseTransaction, String) {
    let url = format!("{}&application_name=nightly-report", db.url());
    let reader = connect(&url).await.begin().await.unwrap();
    reader.execute_unprepared("SELECT FROM tenant_1.guards").await.unwrap();
    let pid = Statement::from_string(DbBackend::Postgres, "SELECT pg_backend_pid()::text");
    let pid = reader.query_one_raw(pid).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    (reader, pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_tenant_during_its_drop_does_not_block_others() {
    let db = TestDb::new().await;
    let config = Config { max_connections: 4, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut tenants = Vec::new();
    for name in ["tenant-1", "tenant-2"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
    }
    let [one, two] = tenants.try_into().unwrap();
    let (reader, pid) = report(&db).await;
    let stop = AtomicBool::new(false);
    let of_one = join_all((0..24).map(|_| async {
        while !stop.load(Ordering::SeqCst) {
            if let Err(error) = guard::Entity::find().count(&one).await {
                let refused = TenantUnavailable::find(&error).unwrap_or_else(|| panic!("{error}"));
                assert_eq!(refused.availability, Availability::Dropped);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }));
    let of_two = async {
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::SeqCst) {
            let started = Instant::now();
            guard::Entity::find().count(&two).await.unwrap();
            longest = longest.max(started.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest
    };
    let dropping = async {
        let error = tenancy.drop(&slug("tenant-1")).await.unwrap_err();
        stop.store(true, Ordering::SeqCst);
        error
    };
    let (error, _, longest) = tokio::join!(dropping, of_one, of_two);
    assert!(longest < Duration::from_secs(3), "another tenant waited for {longest:?}");
    assert_eq!(error.db_error_kind(), Some(DbErrorKind::LockTimeout));
    assert_eq!(
        error.to_string(),
        format!(
            "tenant tenant-1 is marked as dropped, but its tables are still in use by process {pid} \
             (nightly-report); drop it again to continue"
        )
    );
    let list = tenancy.list(tenantry::page::PageRequest::default()).await.unwrap();
    assert_eq!(list.items[0].status, "dropping");

    reader.rollback().await.unwrap();
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry", "tenant_2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_succeeds_when_a_reader_ends_in_time() {
    let db = TestDb::new().await;
    let (tenancy, [one]) = db.with_tenants(["tenant-1"]).await;
    let (reader, _) = report(&db).await;
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Refused long before the tables are gone.
        let error = guard::Entity::find().count(&one).await.unwrap_err();
        assert_eq!(
            TenantUnavailable::find(&error).unwrap().availability,
            Availability::Dropped,
            "{error}"
        );
        reader.rollback().await.unwrap();
    };
    let (dropped, ()) = tokio::join!(tenancy.drop(one.slug()), ends);
    dropped.unwrap();
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_drops_of_a_tenant_all_succeed() {
    let db = TestDb::new().await;
    let (_first, [one]) = db.with_tenants(["tenant-1"]).await;
    fill(&db.plain().await, "tenant_1", 400).await;
    let tenancies = [db.tenancy().await, db.tenancy().await, db.tenancy().await];
    let all = join_all(tenancies.iter().map(|tenancy| tenancy.drop(one.slug()))).await;
    for result in all {
        assert!(matches!(result, Ok(()) | Err(Error::UnknownTenant(_))), "{result:?}");
        assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
    }
}

#[tokio::test]
async fn a_tenant_that_is_being_migrated_is_not_dropped() {
    let db = TestDb::new().await;
    let (tenancy, [one]) = db.with_tenants(["tenant-1"]).await;
    let migrating = db.plain().await.begin().await.unwrap();
    let claim = "SELECT FROM registry.tenants WHERE slug = 'tenant-1' FOR UPDATE";
    migrating.execute_unprepared(claim).await.unwrap();
    let error = tenancy.drop(one.slug()).await.unwrap_err();
    assert!(matches!(&error, Error::BeingMigrated(slug) if slug == one.slug()), "{error}");
    migrating.rollback().await.unwrap();
    assert_eq!(guard::Entity::find().count(&one).await.unwrap(), 0);
    tenancy.drop(one.slug()).await.unwrap();
}

#[tokio::test]
async fn a_schema_whose_tenant_is_being_dropped_is_not_migrated() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    texts(&plain, "UPDATE registry.tenants SET status = 'dropping'").await;
    for words in ["up --schema tenant_1", "fresh --yes --schema tenant_1", "down --schema tenant_1"]
    {
        let ran = Ran::on("migration", &db.url(), &words.split(' ').collect::<Vec<_>>()).exits(1);
        ran.complains(["\"tenant_1\" belongs to a tenant that is being dropped"]);
    }
    assert_eq!(schemas_with(&plain, "shifts").await, ["tenant_1"]);
    tenancy.drop(&slug("tenant-1")).await.unwrap();
}

#[tokio::test]
async fn a_tenant_whose_drop_was_interrupted_is_shown_with_the_command_that_finishes_it() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    texts(&plain, "DROP TABLE tenant_1.shifts").await;
    let mark = "UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'tenant-1'";
    texts(&plain, mark).await;
    let migration =
        |words: &str| Ran::on("migration", &db.url(), &words.split(' ').collect::<Vec<_>>());
    let finish = "tenantry tenant drop tenant-1";
    // The others are up to date.
    for words in ["status", "status --all"] {
        migration(words).exits(0).says(["1 of 1 tenant", "1 tenant being dropped", finish]);
    }
    let status: serde_json::Value =
        serde_json::from_str(&migration("status --json").exits(0).stdout).unwrap();
    assert_eq!(status["dropping"][0]["tenant"], "tenant-1");
    for words in ["verify --all", "verify --tenant tenant-1,tenant-2", "verify --schema tenant_1"] {
        let ran =
            migration(words).exits(1).says(["being dropped: tenant-1 (schema tenant_1)", finish]);
        assert!(!ran.stdout.contains("drifted"), "{ran:#?}");
    }
    // Also if none of its tables is left and it is the only tenant.
    texts(&plain, "DROP SCHEMA tenant_1 CASCADE").await;
    Ran::on("tenantry", &db.url(), &["tenant", "drop", "tenant-2", "--yes"]).exits(0);
    migration("verify --all").exits(1).says([finish]);
    migration("status").exits(0).says(["No tenants.", finish]);
    Ran::on("tenantry", &db.url(), &["tenant", "drop", "tenant-1", "--yes"]).exits(0);
    assert_eq!(migration("status").exits(0).stdout, "No tenants.\n");
    migration("verify --all").exits(0);
}
