//! Citus refuses several changes of tables in one message, so tenants are created one statement at a
//! time there. That is found out once.

use std::sync::atomic::AtomicBool;

use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{Action, DynMigrator, FleetOptions, TenantSelection, run_fleet};

use super::stand_in::cluster;
use crate::support::{
    TestDb,
    catalog::texts,
    log::Log,
    slug,
    sql_migration::{BOOKS, SHELF, Sql, sql_migrator},
};

/// Messages with several changes of tables.
fn messages(db: &TestDb) -> Vec<String> {
    let mut sent = db.statements();
    sent.retain(|sql| !sql.contains("stand_in"));
    sent.retain(|sql| sql.matches("CREATE TABLE").count() + sql.matches("ALTER TABLE").count() > 1);
    sent
}

#[tokio::test]
async fn tenants_are_created_one_statement_at_a_time_without_a_warning() {
    let log = Log::listen();
    let db = cluster().await;
    let config = Config { spares: 1, ..Config::new(db.url(), sql_migrator([BOOKS, SHELF])) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for number in 0..12 {
        tenancy.create(NewTenant::new(slug(&format!("town-{number}")))).await.unwrap();
    }
    assert_eq!(messages(&db), [""; 0]);
    assert!(!log.text().contains("recorded"), "{}", log.text());
    // Nothing is rehearsed but for the spares, once.
    let rehearsals =
        db.statements().iter().filter(|sql| sql.contains("tenantry_recording")).count();
    assert_eq!(rehearsals, 0);
    let asked = db.statements().iter().filter(|sql| *sql == IS_CITUS).count();
    assert!(asked < 6, "asked {asked} times for 12 tenants");

    // A fleet run as well, also where a migration has several statements in one string.
    let plain = db.plain().await;
    let both = "ALTER TABLE books ADD price int; -- and\n ALTER TABLE books ADD shop text;";
    let both = Sql { name: "m4_both", up: both, ..SHELF };
    let next = DynMigrator::tenant(sql_migrator([BOOKS, SHELF, both]));
    let (options, stop) = (FleetOptions::default(), AtomicBool::new(false));
    let all = TenantSelection::All;
    let done = run_fleet(&plain, &next, &all, &Action::Up(None), &options, &stop, |_| {}).await;
    assert_eq!(done.unwrap().failed, 0);
    assert_eq!(messages(&db), [""; 0]);
    let batches = db.statements();
    let mut batches = batches.iter().filter(|sql| sql.contains("tenantry: another run has locked"));
    assert_eq!(batches.next(), None);
    let shops = "SELECT count(*)::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        WHERE attname = 'shop' AND relnamespace::regnamespace::text ~ '^town_'";
    assert_eq!(texts(&plain, shops).await, ["12"]);
}

const IS_CITUS: &str = "SELECT to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL";
