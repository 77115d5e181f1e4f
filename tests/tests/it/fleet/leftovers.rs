//! Session state of one tenant's migration does not reach the next tenant.

use sea_orm::ConnectionTrait;
use tenantry_migrate::{
    Target, drift, dry_run,
    lint::{Profile, check},
    run,
};

use super::*;
use crate::support::{catalog::texts, sql_migration::Sql};

/// A migration after BOOKS.
fn second(up: &'static str) -> Sql {
    Sql { name: "m2_second", up, down: "SELECT 1", ..BOOKS }
}

fn one_by_one() -> FleetOptions {
    FleetOptions { jobs: 1, timeouts: Timeouts::default(), ..fleet() }
}

/// Runs the migration for three tenants on one connection, once in batches and once statement by
/// statement. Returns the result of `probe` in each tenant's schema.
async fn after(up_sql: &'static str, step_by_step: &'static str, probe: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for sql in [up_sql, step_by_step] {
        let db = towns(3).await;
        let single = pool(&db.url(), 1).await;
        let ran = up(&single, sql_migrator([BOOKS, second(sql)]), &one_by_one()).await;
        assert_eq!(ran.failed, []);
        assert_eq!(ran.summary.done, 3);
        let mut rows = Vec::new();
        for town in 0..3 {
            rows.extend(texts(&single, &probe.replace("town", &format!("town_{town}"))).await);
        }
        found.push(rows);
    }
    found
}

#[tokio::test]
async fn rows_of_a_temporary_table_do_not_reach_the_next_tenant() {
    let found = after(
        "CREATE TEMP TABLE IF NOT EXISTS staging (name text);
         DO $$ BEGIN INSERT INTO staging VALUES (current_schema());
         INSERT INTO books SELECT name FROM staging; END $$",
        "CREATE TEMP TABLE IF NOT EXISTS staging (name text);
         INSERT INTO staging VALUES (current_schema());
         INSERT INTO books SELECT name FROM staging",
        "SELECT string_agg(isbn, ' ') FROM town.books",
    )
    .await;
    assert_eq!(found, [["town_0", "town_1", "town_2"]; 2]);
    // Without IF NOT EXISTS, and it still works for the second tenant.
    after(
        "CREATE TEMP TABLE staging (name text); CREATE TEMP SEQUENCE numbers",
        "SELECT 1 AS a INTO TEMP staging",
        "SELECT 'town'",
    )
    .await;
}

#[tokio::test]
async fn a_setting_does_not_reach_the_next_tenant() {
    const RECORD: &str = "DO $$ BEGIN INSERT INTO books
             VALUES (current_schema(), current_setting('work_mem')); END $$;
         SET work_mem = '65MB'; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL
             REPEATABLE READ; SET ROLE pg_monitor; RESET ROLE; SET TIME ZONE 'Asia/Tokyo'";
    const ASK: &str = "INSERT INTO books VALUES (current_schema(), current_setting('work_mem'));
         SELECT set_config('work_mem', '65MB', false)";
    let found = after(RECORD, ASK, "SELECT title FROM town.books").await;
    assert_eq!(found, [["4MB", "4MB", "4MB"]; 2]);
    // A setting that would fail all others.
    after(
        "SET statement_timeout = '1s'; DO $$ BEGIN PERFORM set_config('search_path',
             current_setting('search_path'), false); END $$; SET lock_timeout = 1",
        "SELECT 1; SET idle_in_transaction_session_timeout = 1",
        "SELECT 'town'",
    )
    .await;
}

#[tokio::test]
async fn session_locks_cursors_and_prepared_statements_do_not_reach_the_next_tenant() {
    let found = after(
        "LISTEN everything; DO $$ BEGIN PERFORM pg_advisory_lock(4712); END $$",
        "PREPARE find AS SELECT 1; DECLARE rows CURSOR WITH HOLD FOR SELECT 1; LISTEN everything;
         SELECT pg_advisory_lock(4712)",
        "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712)
             + (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)
             + (SELECT count(*) FROM pg_cursors WHERE is_holdable)
             + (SELECT count(*) FROM pg_listening_channels()) || ''",
    )
    .await;
    assert_eq!(found, [["0", "0", "0"]; 2]);
}

#[tokio::test]
async fn failed_migration_leaves_no_session_lock() {
    let db = towns(2).await;
    let single = pool(&db.url(), 1).await;
    let sql = "PREPARE find AS SELECT 1; SELECT pg_advisory_lock(4713); SELECT 1 / 0";
    let ran = up(&single, sql_migrator([BOOKS, second(sql)]), &one_by_one()).await;
    assert_eq!(ran.failed.len(), 2);
    assert!(ran.failed.iter().all(|(_, error)| error.contains("22012")), "{ran:?}");
    let block = "DO $$ BEGIN PERFORM pg_advisory_lock(4713); PERFORM 1 / 0; END $$";
    let ran = up(&single, sql_migrator([BOOKS, second(block)]), &one_by_one()).await;
    assert!(ran.failed.iter().all(|(_, error)| error.contains("22012")), "{ran:?}");
    let left = "SELECT objid::text FROM pg_locks WHERE locktype = 'advisory' AND objid = 4713";
    assert_eq!(texts(&single, left).await, [""; 0]);
}

#[tokio::test]
async fn checks_of_migrations_leave_nothing_in_the_session() {
    let db = towns(1).await;
    let single = pool(&db.url(), 1).await;
    let sql = "CREATE TEMP TABLE staging (a int); SET work_mem = '65MB'; PREPARE find AS SELECT 1;
         SELECT pg_advisory_lock(4714)";
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, second(sql)]));
    let left = "SELECT current_setting('work_mem') || (SELECT count(*) FROM pg_locks
             WHERE locktype = 'advisory' AND objid = 4714) || (SELECT count(*) FROM pg_prepared_statements
             WHERE from_sql)";
    let schema = Target::Schema("town_0".parse().unwrap());
    for _ in 0..2 {
        check(&single, &migrator, Profile::Citus).await.unwrap();
        assert_eq!(texts(&single, left).await, ["4MB00"]);
        dry_run(&single, &schema, &migrator, &Action::Fresh { cascade: false }).await.unwrap();
        assert_eq!(texts(&single, left).await, ["4MB00"]);
        drift::embeds_schema_name(&single, &migrator).await.unwrap();
        assert_eq!(texts(&single, left).await, ["4MB00"]);
    }
    run(&single, &schema, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    assert_eq!(texts(&single, left).await, ["4MB00"]);
    assert!(drift::verify(&single, &migrator, &drift::VerifyTarget::All).await.unwrap().is_clean());
    assert_eq!(texts(&single, left).await, ["4MB00"]);
    single.execute_unprepared("SELECT 1").await.unwrap();
}
