//! Tenants whose data may be read and not changed.

mod transactions;

use std::time::Duration;

use entity::guard;
use futures_util::{StreamExt, TryStreamExt};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait,
    PaginatorTrait, Set, Statement, StreamTrait, TransactionTrait,
};
use tenantry::{Config, Error, ReadOnlyTenant, Tenancy, Tenant};

use crate::support::{TestDb, abu, catalog::texts, http_server::eventually, route::Route, slug};

/// Two tenants on one connection, the first of which has one guard and things that write.
struct Fixture {
    tenancy: Tenancy,
    acme: Tenant,
    other: Tenant,
    plain: DatabaseConnection,
    _route: Route,
    db: TestDb,
}

const OBJECTS: &str = "
    CREATE SEQUENCE acme.numbers;
    CREATE FUNCTION acme.write() RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO acme.guards SELECT gen_random_uuid(), name, position, now(), now()
           FROM acme.guards LIMIT 1; RETURN 1; END $$;
    CREATE FUNCTION acme.number_of_guards() RETURNS bigint LANGUAGE sql AS
        'SELECT count(*) FROM acme.guards';";

impl Fixture {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let route = Route::of_process().await;
        let config = Config { max_connections: 1, ..route.config(&db) };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let [acme, other] = ["acme", "other"].map(slug);
        for slug in [&acme, &other] {
            tenancy.create(tenantry::NewTenant::new(slug.clone())).await.unwrap();
        }
        let acme = tenancy.tenant(&acme).await.unwrap();
        let other = tenancy.tenant(&other).await.unwrap();
        abu().insert(&acme).await.unwrap();
        let plain = db.plain().await;
        plain.execute_unprepared(OBJECTS).await.unwrap();
        Self { tenancy, acme, other, plain, _route: route, db }
    }

    async fn set(&self, read_only: bool) {
        let record = self.tenancy.set_read_only(self.acme.slug(), read_only).await.unwrap();
        assert_eq!(record.read_only, read_only);
    }

    /// The process of the connection.
    async fn pid(&self) -> i32 {
        let ask = Statement::from_string(DbBackend::Postgres, "SELECT pg_backend_pid()");
        let row = self.other.query_one_raw(ask).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    async fn guards(&self) -> Vec<String> {
        texts(&self.plain, "SELECT count(*)::text FROM acme.guards").await
    }
}

#[track_caller]
fn assert_refused<T>(result: Result<T, DbErr>, what: &str) {
    let Err(error) = result else { panic!("it was not refused: {what}") };
    let refused = ReadOnlyTenant::find(&error).unwrap_or_else(|| panic!("{what}: {error}"));
    assert_eq!(refused.slug.as_str(), "acme");
    assert!(matches!(Error::from(error), Error::ReadOnlyTenant(_)), "{what}");
}

fn sql(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, sql)
}

/// Statements that write, of which PostgreSQL has to find that out.
const HIDDEN_WRITES: [&str; 10] = [
    "SELECT \"@tenant\".write()",
    "SELECT * FROM \"@tenant\".write()",
    "WITH gone AS (DELETE FROM \"@tenant\".guards RETURNING 1) SELECT * FROM gone",
    "WITH all_of AS (SELECT 1) DELETE FROM \"@tenant\".guards",
    "SELECT nextval('acme.numbers')",
    "SELECT setval('acme.numbers', 7)",
    "SELECT 1 FROM \"@tenant\".guards FOR UPDATE",
    "EXPLAIN ANALYZE DELETE FROM \"@tenant\".guards",
    "SELECT 1 AS one INTO \"@tenant\".ones",
    "DO $$ BEGIN DELETE FROM acme.guards; END $$",
];

#[tokio::test]
async fn every_kind_of_write_is_refused_and_changes_nothing() {
    let it = Fixture::new().await;
    let pid = it.pid().await;
    let one = guard::Entity::find().one(&it.acme).await.unwrap().unwrap();
    it.set(true).await;
    assert_refused(abu().insert(&it.acme).await, "insert");
    let many = guard::Entity::insert_many([abu(), abu()]);
    assert_refused(many.exec(&it.acme).await, "insert_many");
    let mut change: guard::ActiveModel = one.clone().into();
    change.name = Set("Bea".into());
    assert_refused(change.update(&it.acme).await, "update");
    assert_refused(guard::Entity::delete_by_id(one.id).exec(&it.acme).await, "delete");
    assert_refused(it.acme.execute_raw(sql("TRUNCATE \"@tenant\".guards")).await, "truncate");
    let is_write =
        |sql: &String| sql.starts_with("DELETE FROM \"acme\"") || sql.contains("TRUNCATE");
    let sent: Vec<String> = it.db.statements().into_iter().filter(is_write).collect();
    assert_eq!(sent, [""; 0]);

    // The server is not taken for one that accepts no writes: its connection is kept.
    let locks = "SELECT 1 FROM \"@tenant\".guards FOR UPDATE";
    assert_refused(it.acme.query_all_raw(sql(locks)).await, locks);
    assert_eq!(it.pid().await, pid);

    for write in HIDDEN_WRITES {
        assert_refused(it.acme.query_all_raw(sql(write)).await, write);
        assert_refused(it.acme.execute_raw(sql(write)).await, write);
        assert_refused(it.acme.execute_unprepared(write).await, write);
        let streamed = match it.acme.stream_raw(sql(write)).await {
            Ok(rows) => rows.try_collect::<Vec<_>>().await,
            Err(error) => Err(error),
        };
        assert_refused(streamed, write);
    }
    for batch in [
        "SELECT 1; SELECT \"@tenant\".write()",
        "SELECT 1; DELETE FROM \"@tenant\".guards",
        "SET LOCAL statement_timeout = 1000; SELECT \"@tenant\".write()",
        "RESET transaction_read_only; SELECT \"@tenant\".write()",
        "SET transaction_read_only TO DEFAULT; SELECT \"@tenant\".write()",
    ] {
        assert_refused(it.acme.execute_unprepared(batch).await, batch);
    }
    for writable in [
        "SET TRANSACTION READ WRITE; SELECT \"@tenant\".write()",
        "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM acme.guards; END $$",
    ] {
        it.acme.execute_unprepared(writable).await.unwrap_err();
    }
    assert_eq!(it.guards().await, ["1"]);
    assert_eq!(texts(&it.plain, "SELECT last_value::text FROM acme.numbers").await, ["1"]);

    it.set(false).await;
    abu().insert(&it.acme).await.unwrap();
    it.acme.query_all_raw(sql(HIDDEN_WRITES[0])).await.unwrap();
    assert_eq!(it.guards().await, ["3"]);
}

#[tokio::test]
async fn reads_go_on() {
    let it = Fixture::new().await;
    it.set(true).await;
    assert_eq!(guard::Entity::find().count(&it.acme).await.unwrap(), 1);
    assert_eq!(guard::Entity::find().all(&it.acme).await.unwrap()[0].name, "Abu");
    let rows = guard::Entity::find().stream(&it.acme).await.unwrap();
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let ask = sql("SELECT \"@tenant\".number_of_guards()");
    let row = it.acme.query_one_raw(ask).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 1);
    it.acme.execute_unprepared("SELECT 1; SHOW transaction_read_only").await.unwrap();
    // An error of another kind stays what it is.
    let error = it.acme.execute_unprepared("SELECT 1 / 0").await.unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
    // Work in all tenants includes it.
    assert_eq!(it.tenancy.tenants().count().await, 2);
    let names: Vec<_> = it
        .tenancy
        .query_all::<guard::Model>(guard::Entity::find(), 2)
        .map(|row| row.unwrap().slug.to_string())
        .collect()
        .await;
    assert_eq!(names, ["acme"]);
    assert!(it.tenancy.get(it.acme.slug()).await.unwrap().unwrap().read_only);
    // A repetition changes nothing.
    let before = it.tenancy.get(it.acme.slug()).await.unwrap().unwrap();
    assert_eq!(it.tenancy.set_read_only(it.acme.slug(), true).await.unwrap(), before);
    let recorded = "SELECT after::text FROM registry.audit WHERE action = 'read_only'";
    assert_eq!(texts(&it.plain, recorded).await, [r#"{"read_only": true}"#]);
}

#[tokio::test]
async fn nothing_of_it_reaches_another_tenant_on_the_same_connection() {
    let it = Fixture::new().await;
    it.set(true).await;
    for _ in 0..3 {
        assert_eq!(guard::Entity::find().count(&it.acme).await.unwrap(), 1);
        abu().insert(&it.other).await.unwrap();
        it.acme.execute_unprepared("SELECT 1").await.unwrap();
        abu().insert(&it.other).await.unwrap();
        assert_refused(it.acme.query_all_raw(sql(HIDDEN_WRITES[0])).await, "write");
        abu().insert(&it.other).await.unwrap();
        // A stream that is dropped while its rows arrive.
        let many = sql("SELECT generate_series(1, 100000)");
        let mut rows = it.acme.stream_raw(many).await.unwrap();
        rows.next().await.unwrap().unwrap();
        drop(rows);
        abu().insert(&it.other).await.unwrap();
        // A transaction that is dropped, and one that is committed.
        drop(it.acme.begin().await.unwrap());
        abu().insert(&it.other).await.unwrap();
        it.acme.begin().await.unwrap().commit().await.unwrap();
        abu().insert(&it.other).await.unwrap();
        // A statement that is given up.
        let sleep = it.acme.execute_unprepared("SELECT pg_sleep(10)");
        tokio::time::timeout(Duration::from_millis(50), sleep).await.unwrap_err();
        abu().insert(&it.other).await.unwrap();
    }
    let all = guard::Entity::find().count(&it.other).await.unwrap();
    assert_eq!(all, 21);
    let settings = "SELECT current_setting('default_transaction_read_only')";
    let row = it.other.query_one_raw(sql(settings)).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "off");
}

#[tokio::test]
async fn every_process_applies_it_to_open_handles_at_their_next_statement() {
    let it = Fixture::new().await;
    let there = it.db.tenancy().await;
    let remote = there.tenant(it.acme.slug()).await.unwrap();
    abu().insert(&remote).await.unwrap();
    let txn = remote.begin().await.unwrap();
    guard::Entity::find().count(&txn).await.unwrap();
    it.set(true).await;
    // In the process that made the change when it returns.
    assert_refused(abu().insert(&it.acme).await, "insert");
    eventually("the other process knows", async || match abu().insert(&remote).await {
        Ok(_) => false,
        refused => {
            assert_refused(refused, "insert");
            true
        }
    })
    .await;
    assert_refused(abu().insert(&txn).await, "insert");
    assert_refused(txn.query_all_raw(sql(HIDDEN_WRITES[0])).await, "write");
    txn.rollback().await.unwrap();
    it.set(false).await;
    eventually("both processes know", async || {
        abu().insert(&remote).await.is_ok() && abu().insert(&it.acme).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_read_only_tenant_can_be_suspended_renamed_archived_and_purged_and_stays_read_only() {
    let it = Fixture::new().await;
    it.set(true).await;
    let acme = it.acme.slug();
    it.tenancy.suspend(acme, None).await.unwrap();
    it.tenancy.resume(acme).await.unwrap();
    let new = slug("new");
    let renamed = it.tenancy.rename(acme, &new, tenantry::RenameOptions::default()).await.unwrap();
    assert!(renamed.read_only);
    let tenant = it.tenancy.tenant(&new).await.unwrap();
    let error = abu().insert(&tenant).await.unwrap_err();
    assert_eq!(ReadOnlyTenant::find(&error).unwrap().slug, new);
    it.tenancy.archive(&new, Some(Duration::ZERO)).await.unwrap();
    it.tenancy.purge(&new, false).await.unwrap();
    let rows = "SELECT status FROM registry.tenants WHERE read_only";
    assert_eq!(texts(&it.plain, rows).await, [""; 0]);
}
