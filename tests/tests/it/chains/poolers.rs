//! Non-transactional migrations through poolers.

use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, DatabaseConnection, DatabaseConnection as Db};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DbErrorKind, DynMigrator, Error, MigrationOutcome, Target, Timeouts, run,
};

use super::{Chain, Migrations, alone, first, sql};
use crate::support::{
    TestDb,
    catalog::{schemas_with, texts},
    pooler::{Mode, Pooler},
    slug,
};

fn outside() -> Migrations {
    vec![
        first(),
        alone("m2_shelves", "CREATE TABLE shelves (id int); ANALYZE shelves", "DROP TABLE shelves"),
        alone("m3_index", "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON books (title)", ""),
        sql("m4_price", "ALTER TABLE books ADD COLUMN price int", ""),
    ]
}

/// A database with the tenant `city`, and one connection to it through a pooler.
async fn city(mode: Mode) -> (TestDb, Pooler, Db) {
    let db = TestDb::new().await;
    let before = Chain { limit: 1, ..Chain::new(outside) };
    let tenancy = Tenancy::connect(&Config::new(db.url(), before)).await.unwrap();
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    tenancy.close().await;
    let pooler = Pooler::new(mode).await;
    let mut options = ConnectOptions::new(pooler.url(db.name()));
    options.max_connections(1).sqlx_logging(false);
    let pooled = tenantry_migrate::connect::open(options).await.unwrap();
    (db, pooler, pooled)
}

async fn up(db: &DatabaseConnection) -> Result<MigrationOutcome, Error> {
    let target = Target::Schema("city".parse().unwrap());
    let migrator = DynMigrator::tenant(Chain::new(outside));
    run(db, &target, &migrator, &Action::Up(None), Timeouts::default()).await
}

#[tokio::test]
async fn behind_a_pooler_that_drops_start_up_options_everything_is_in_the_tenants_schema() {
    let (db, _pooler, pooled) = city(Mode::Session).await;
    let outcome = up(&pooled).await.unwrap();
    assert_eq!(outcome.applied, ["m2_shelves", "m3_index", "m4_price"]);
    let plain = db.plain().await;
    assert_eq!(schemas_with(&plain, "shelves").await, ["city"]);
    let version = "SELECT schema_version FROM registry.tenants";
    assert_eq!(texts(&plain, version).await, ["m4_price"]);
}

#[tokio::test]
async fn behind_a_pooler_in_transaction_mode_nothing_is_done_outside_a_transaction() {
    let (db, _pooler, pooled) = city(Mode::Transaction).await;
    let error = up(&pooled).await.unwrap_err();
    assert!(matches!(&error, Error::SharedSession { migration, .. } if migration == "m2_shelves"));
    assert!(error.to_string().contains("pooler in transaction mode"), "{error}");
    let plain = db.plain().await;
    assert_eq!(schemas_with(&plain, "shelves").await, [""; 0]);
    assert_eq!(texts(&plain, "SELECT schema_version FROM registry.tenants").await, ["m1_books"]);
    // The search_path of other sessions is unchanged.
    let path = "SELECT DISTINCT current_setting('search_path')";
    for _ in 0..3 {
        assert_eq!(texts(&pooled, path).await, ["\"$user\", public"]);
    }
}

#[tokio::test]
async fn refused_connection_is_not_an_outage() {
    let (_db, pooler, pooled) = city(Mode::Session).await;
    pooler.refuse();
    let started = Instant::now();
    let error = up(&pooled).await.unwrap_err();
    assert_eq!(error.db_error_kind(), Some(DbErrorKind::Refused), "{error}");
    assert_eq!(error.sqlstate().as_deref(), Some("3D000"));

    let migrator = DynMigrator::tenant(Chain::new(outside));
    let fleet = tenantry_migrate::FleetOptions { ..tenantry_migrate::FleetOptions::default() };
    let (action, stop) = (Action::Up(None), std::sync::atomic::AtomicBool::new(false));
    let who = tenantry_migrate::TenantSelection::All;
    let ran =
        tenantry_migrate::run_fleet(&pooled, &migrator, &who, &action, &fleet, &stop, |_| {}).await;
    assert_eq!(ran.unwrap().failed, 1);
    assert!(started.elapsed() < Duration::from_secs(60));
}
