//! Changes of the session by a statement.

use entity::guard;
use futures_util::TryStreamExt;
use migration::Migrator;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, StreamTrait, TransactionTrait,
};
use tenantry::{Config, DbErrorKind, NewTenant, Tenancy};

use super::{Shared, named, pid, postgres, sqlstate, text};
use crate::support::{
    TestDb,
    http_server::eventually,
    slug,
    sql_migration::{Sql, sql_migrator},
};

/// A statement of one tenant, and a query of the next one with its expected result.
const REMAINS: [(&str, &str, Option<&str>); 31] = [
    ("SET search_path = tenant_1", PATH, Some("pg_catalog")),
    ("SET SESSION search_path TO tenant_1, public", PATH, Some("pg_catalog")),
    ("/* a */ set\n search_path = tenant_1", PATH, Some("pg_catalog")),
    ("SELECT 1; SET search_path = tenant_1", PATH, Some("pg_catalog")),
    ("SELECT set_config('search_path', 'tenant_1', false)", PATH, Some("pg_catalog")),
    ("SELECT PG_Catalog.Set_Config ('search_path', 'tenant_1', false)", PATH, Some("pg_catalog")),
    ("SELECT \"set_config\"('search_path', 'tenant_1', false)", PATH, Some("pg_catalog")),
    (
        "SELECT \"pg_catalog\".set_config('search_path', 'tenant_1', false)",
        PATH,
        Some("pg_catalog"),
    ),
    (
        "UPDATE \"@tenant\".guards SET name = set_config('search_path', 'tenant_1', false)",
        PATH,
        Some("pg_catalog"),
    ),
    (
        "DO $$ BEGIN PERFORM set_config('search_path', 'tenant_1', false); END $$",
        PATH,
        Some("pg_catalog"),
    ),
    ("SELECT \"@tenant\".astray()", PATH, Some("pg_catalog")),
    ("SELECT * FROM \"@tenant\" . \"astray\" ()", PATH, Some("pg_catalog")),
    (
        "SELECT name FROM \"@tenant\".guards WHERE \"@tenant\".astray() IS NULL",
        PATH,
        Some("pg_catalog"),
    ),
    ("CALL \"@tenant\".astray_too()", PATH, Some("pg_catalog")),
    ("CREATE TEMP TABLE guards AS SELECT 'Abu' AS name", TEMPORARY, None),
    ("SELECT name INTO TEMPORARY kept FROM \"@tenant\".guards", TEMPORARY, None),
    ("CREATE TEMP SEQUENCE kept; SELECT nextval('pg_temp.kept')", TEMPORARY, None),
    ("CREATE TEMP VIEW kept AS SELECT 1", TEMPORARY, None),
    ("SET default_transaction_read_only = on", "SHOW default_transaction_read_only", Some("off")),
    ("SET statement_timeout = '7s'", "SHOW statement_timeout", None),
    ("SET TimeZone = 'Asia/Tokyo'", "SHOW TimeZone", Some("UTC")),
    ("SET ROLE pg_monitor", "SELECT current_user::text", Some("postgres")),
    ("SET SESSION AUTHORIZATION pg_monitor", "SELECT session_user::text", Some("postgres")),
    ("SET session_replication_role = replica", "SHOW session_replication_role", Some("origin")),
    ("SET standard_conforming_strings = off", "SHOW standard_conforming_strings", Some("on")),
    ("SET my.secret = 'Abu'", "SELECT nullif(current_setting('my.secret', true), '')", None),
    ("SELECT pg_advisory_lock(1)", LOCKS, Some("0")),
    ("SELECT pg_try_advisory_lock_shared(1, 2)", LOCKS, Some("0")),
    ("LISTEN mine", "SELECT pg_listening_channels()", None),
    (
        "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
        "SELECT name FROM pg_cursors WHERE is_holdable",
        None,
    ),
    ("PREPARE mine AS SELECT 1", "SELECT name FROM pg_prepared_statements WHERE from_sql", None),
];

const PATH: &str = "SHOW search_path";
const TEMPORARY: &str =
    "SELECT relname::text FROM pg_class WHERE pg_table_is_visible(oid) AND relpersistence = 't'";
const LOCKS: &str =
    "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

async fn with_functions() -> Shared {
    let it = Shared::new().await;
    let body = "BEGIN PERFORM set_config('search_path', 'tenant_1', false); ";
    for sql in [
        format!(
            "CREATE FUNCTION tenant_1.astray() RETURNS text LANGUAGE plpgsql AS $${body} RETURN ''; END$$"
        ),
        format!("CREATE PROCEDURE tenant_1.astray_too() LANGUAGE plpgsql AS $${body} END$$"),
    ] {
        it.plain.execute_unprepared(&sql).await.unwrap();
    }
    it
}

/// The ways to send a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Text,
    Prepared,
    Stream,
    Committed,
    Dropped,
}

async fn leave_behind(it: &Shared, sql: &str, how: How) {
    match how {
        How::Text => drop(it.one.execute_unprepared(sql).await.unwrap()),
        // Several statements cannot be prepared.
        How::Prepared => drop(it.one.execute_raw(postgres(sql)).await),
        How::Stream => {
            let Ok(rows) = it.one.stream_raw(postgres(sql)).await else { return };
            drop(rows.try_collect::<Vec<_>>().await);
        }
        How::Committed => {
            let txn = it.one.begin().await.unwrap();
            let savepoint = txn.begin().await.unwrap();
            savepoint.execute_unprepared(sql).await.unwrap();
            savepoint.commit().await.unwrap();
            txn.commit().await.unwrap();
        }
        How::Dropped => {
            let txn = it.one.begin().await.unwrap();
            drop(txn.execute_unprepared(sql).await);
        }
    }
}

#[tokio::test]
async fn nothing_of_a_session_reaches_the_next_tenant() {
    let it = with_functions().await;
    let usual = text(&it.two, "SHOW statement_timeout").await.unwrap();
    for (sql, ask, answer) in REMAINS {
        for how in [How::Text, How::Prepared, How::Stream, How::Committed, How::Dropped] {
            if how == How::Committed && sql.starts_with("SET SESSION AUTH") {
                // The rollback of the statement has removed the savepoint.
                continue;
            }
            leave_behind(&it, sql, how).await;
            let answer = if ask == "SHOW statement_timeout" { usual.as_deref() } else { answer };
            let found = text(&it.two, ask).await.unwrap();
            assert_eq!(found.as_deref(), answer, "{ask}, after {sql} ({how:?})");
            let bare = it.two.query_one_raw(postgres("SELECT name FROM guards")).await;
            assert_eq!(sqlstate(&bare.unwrap_err()), "42P01", "after {sql} ({how:?})");
        }
    }
    named("Yan").insert(&it.two).await.unwrap();
    assert_eq!(it.guards_of_two().await, "Xia Yan");
}

#[tokio::test]
async fn the_same_tenant_gets_a_clean_session_too() {
    let it = Shared::new().await;
    it.one.execute_unprepared("SET my.secret = 'Abu'").await.unwrap();
    let kept = "SELECT nullif(current_setting('my.secret', true), '')";
    assert_eq!(text(&it.one, kept).await.unwrap(), None);
}

#[tokio::test]
async fn in_a_transaction_a_setting_stays_until_its_end() {
    let it = Shared::new().await;
    let txn = it.one.begin().await.unwrap();
    txn.execute_unprepared("SET LOCAL my.secret = 'Abu'; CREATE TEMP TABLE kept ()").await.unwrap();
    assert_eq!(
        text(&txn, "SELECT current_setting('my.secret')").await.unwrap(),
        Some("Abu".into())
    );
    txn.execute_unprepared("SELECT * FROM pg_temp.kept").await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(text(&it.two, TEMPORARY).await.unwrap(), None);
}

/// Removes prepared statements that the driver has cached.
#[tokio::test]
async fn statements_that_the_server_has_lost_are_prepared_again() {
    let it = Shared::new().await;
    for sql in ["DISCARD ALL", "DEALLOCATE ALL", "discard plans; deallocate prepare all"] {
        let count = guard::Entity::find().count(&it.two).await.unwrap();
        // DISCARD ALL is not allowed in a batch, nor in a transaction.
        it.one.execute_unprepared(sql).await.unwrap();
        assert_eq!(guard::Entity::find().count(&it.two).await.unwrap(), count, "after {sql}");
    }
    // By a view, which the SQL of a statement does not show.
    for sql in [
        "CREATE FUNCTION tenant_1.forget() RETURNS int LANGUAGE plpgsql AS
         $$BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN 1; END$$",
        "CREATE VIEW tenant_1.forgetful AS SELECT tenant_1.forget()",
    ] {
        it.plain.execute_unprepared(sql).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(guard::Entity::find().count(&it.two).await.unwrap(), 1);
        it.one.execute_unprepared("SELECT * FROM \"@tenant\".forgetful").await.unwrap();
    }
    assert_eq!(guard::Entity::find().count(&it.two).await.unwrap(), 1);
    named("Yan").insert(&it.two).await.unwrap();
}

#[tokio::test]
async fn in_a_transaction_a_lost_prepared_statement_fails_once() {
    let it = Shared::new().await;
    guard::Entity::find().count(&it.one).await.unwrap();
    let txn = it.one.begin().await.unwrap();
    txn.execute_unprepared("DEALLOCATE ALL").await.unwrap();
    let error = guard::Entity::find().count(&txn).await.unwrap_err();
    assert_eq!(
        (sqlstate(&error), DbErrorKind::of(&error)),
        ("26000".into(), DbErrorKind::StaleStatement)
    );
    drop(txn);
    let txn = it.one.begin().await.unwrap();
    assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 1);
}

/// Statements of SeaORM leave the session as it is, and other changes are reset.
#[tokio::test]
async fn only_statements_that_may_change_the_session_cause_a_reset() {
    let it = Shared::new().await;
    let before = pid(&it.one).await;
    let ordinary = it.db.statements().len();
    for n in 0..5 {
        named(&n.to_string()).insert(&it.one).await.unwrap();
        guard::Entity::find().count(&it.one).await.unwrap();
        let txn = it.one.begin().await.unwrap();
        guard::Entity::find().all(&txn).await.unwrap();
        txn.commit().await.unwrap();
    }
    let sent = it.db.statements().split_off(ordinary);
    assert!(sent.iter().all(|sql| !sql.contains("RESET")), "{sent:?}");
    it.one.execute_unprepared("CREATE TABLE \"@tenant\".towers (id int)").await.unwrap();
    it.one.execute_unprepared("SET work_mem = '1MB'").await.unwrap();
    assert_eq!(pid(&it.two).await, before);
    it.one.execute_unprepared("DO 'BEGIN END'").await.unwrap();
    assert_ne!(pid(&it.two).await, before);
}

#[tokio::test]
async fn a_session_that_cannot_be_reset_is_closed() {
    let it = Shared::new().await;
    let before = pid(&it.one).await;
    // The SQL does not show that the statement creates a temporary table.
    for sql in [
        "CREATE FUNCTION tenant_1.keep() RETURNS int LANGUAGE plpgsql AS
         $$BEGIN CREATE TEMP TABLE kept (); RETURN 1; END$$",
        "CREATE VIEW tenant_1.keeping AS SELECT tenant_1.keep()",
    ] {
        it.plain.execute_unprepared(sql).await.unwrap();
    }
    it.one.execute_unprepared("SELECT * FROM \"@tenant\".keeping").await.unwrap();
    let schema = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'kept'";
    let schema = text(&it.plain, schema).await.unwrap().unwrap();
    // It cannot be dropped while another session has a lock on it.
    let locker = it.plain.begin().await.unwrap();
    locker.execute_unprepared(&format!("LOCK TABLE {schema}.kept")).await.unwrap();

    it.one.execute_unprepared("SET work_mem = '1MB'").await.unwrap();
    assert_eq!(text(&it.two, TEMPORARY).await.unwrap(), None);
    assert_ne!(pid(&it.two).await, before);
    locker.rollback().await.unwrap();
}

const REPLICA: Sql = Sql {
    name: "m1_towers",
    up: "CREATE TABLE towers (id int CONSTRAINT towers_pkey PRIMARY KEY); \
         SET session_replication_role = replica; SET ROLE pg_monitor; RESET ROLE; \
         SET standard_conforming_strings = off",
    down: "",
    alone: false,
    breaking: false,
};

/// A migration that reads and therefore cannot be recorded.
const READING: Sql = Sql {
    name: "m2_reading",
    up: "DO $$ BEGIN PERFORM set_config('session_replication_role', 'replica', false); END $$",
    down: "",
    alone: false,
    breaking: false,
};

#[tokio::test]
async fn settings_of_a_migration_do_not_outlive_the_creation() {
    for migrator in [sql_migrator([REPLICA]), sql_migrator([REPLICA, READING])] {
        for spares in [0, 1] {
            let db = TestDb::new().await;
            let config =
                Config { max_connections: 1, spares, ..Config::new(db.url(), migrator.clone()) };
            let other = Tenancy::connect(&config).await.unwrap();
            other.create(NewTenant::new(slug("new"))).await.unwrap();
            let new = other.tenant(&slug("new")).await.unwrap();
            for _ in 0..3 {
                let role = text(&new, "SHOW session_replication_role").await.unwrap();
                assert_eq!(role.as_deref(), Some("origin"));
                let strings = text(&new, "SHOW standard_conforming_strings").await.unwrap();
                assert_eq!(strings.as_deref(), Some("on"));
            }
            other.close().await;
        }
    }
}

/// Asserts that foreign keys are checked for the application.
#[tokio::test]
async fn foreign_keys_hold_after_a_migration_that_has_switched_them_off() {
    let db = TestDb::new().await;
    let off = Sql { name: "m3_off", up: "SET session_replication_role = replica", ..REPLICA };
    #[derive(Clone)]
    struct WithOff(Sql);
    impl tenantry_migrate::TenantMigrator for WithOff {}
    impl sea_orm_migration::MigratorTraitSelf for WithOff {
        fn migrations(&self) -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
            let mut all = Migrator.migrations();
            all.push(Box::new(self.0.clone()));
            all
        }
    }
    let config = Config { max_connections: 1, ..Config::new(db.url(), WithOff(off)) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for name in ["tenant-1", "tenant-2"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let one = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    let sql = "INSERT INTO \"@tenant\".shifts (id, guard_id, starts_at, ends_at, inserted_at, updated_at) \
               VALUES (gen_random_uuid(), gen_random_uuid(), now(), now() + '1 h', now(), now())";
    let error = one.execute_raw(postgres(sql)).await.unwrap_err();
    assert!(matches!(DbErrorKind::of(&error), DbErrorKind::ForeignKey(_)), "{error}");
    eventually("the session is at rest", async || {
        text(&one, "SHOW session_replication_role").await.unwrap().as_deref() == Some("origin")
    })
    .await;
}
