//! Tenants with very many tables are dropped bit by bit.

use migration::{
    Action, AnyMigrator, Fault, Target, Timeouts, postgres::Server, registry, run, tenant,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use service::tenancy::{Access, Config, Error, NewTenant, Refused, Tenancy};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    database::connect,
    process::Ran,
    slug,
};

/// Makes tables of a key, an index and a text, two hundred in each transaction.
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
    let migrator = AnyMigrator::new(registry::Migrator);
    let (up, no_limit) = (Action::Up(None), Timeouts::default());
    run(&plain, &Target::Registry, &migrator, &up, no_limit).await.unwrap();
    let tenancy = Tenancy::connect(&Config::new(&url, tenant::Migrator)).await.unwrap();
    for name in ["tenant-1", "tenant-2"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    fill(&plain, "tenant_1", 3000).await;

    let txn = plain.begin().await.unwrap();
    let at_once = txn.execute_unprepared("DROP SCHEMA tenant_1 CASCADE").await.unwrap_err();
    assert_eq!(Fault::sqlstate(&at_once).as_deref(), Some("53200"), "{at_once}");
    // The error is told before its locks are let go.
    txn.rollback().await.unwrap();
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_2"]);
    assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
    tenancy.tenant(&slug("tenant-2")).await.unwrap();
}

#[tokio::test]
async fn everything_that_a_schema_may_hold_is_dropped_bit_by_bit() {
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
async fn a_tenant_that_is_being_dropped_is_left_alone_by_everybody_until_it_is_finished() {
    let db = TestDb::new().await;
    let (tenancy, [one, _]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    // As an interrupted drop leaves it.
    texts(&plain, "DROP TABLE tenant_1.shifts").await;
    texts(&plain, "UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'tenant-1'").await;
    let elsewhere = db.tenancy().await;
    let error = elsewhere.tenant(one.slug()).await.unwrap_err();
    let dropped = Access::Dropped;
    assert!(matches!(&error, Error::Refused(Refused { access, .. }) if *access == dropped));
    let error = elsewhere.create(NewTenant::new(slug("tenant-1"))).await.unwrap_err();
    assert!(matches!(error, Error::SlugTaken(_)), "{error}");

    let list = Ran::on("tenantry", &db.url(), &["tenant", "list"]).exits(0).stdout;
    let line = list.lines().find(|line| line.contains("tenant-1")).unwrap();
    assert!(line.contains("dropping"), "{list}");
    for command in ["status --all", "up --all", "verify --all", "down --all --yes"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let ran = Ran::on("migration", &db.url(), &arguments).exits(0);
        assert!(!ran.stdout.contains("tenant-1"), "{}", ran.stdout);
    }
    let ran = Ran::on("migration", &db.url(), &["up", "--tenant", "tenant-1"]).exits(1);
    ran.complains([
        "tenant tenant-1 is being dropped; `tenantry tenant drop tenant-1` finishes it",
    ]);

    Ran::on("tenantry", &db.url(), &["tenant", "drop", "tenant-1", "--yes"]).exits(0);
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_2"]);
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
}
