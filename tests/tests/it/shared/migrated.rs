//! Migrations of shared tables, and programs that need them.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use tenantry::{Error, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Error as MigrationError, FleetOptions, MigrationOutcome, TenantSelection,
    run, run_fleet, shared_state,
};

use super::*;
use crate::support::{
    catalog::{tables, texts},
    slug,
};

const INDEX: Sql = Sql {
    name: "s3_index",
    up: "CREATE INDEX CONCURRENTLY IF NOT EXISTS plans_name_idx ON plans (name)",
    down: "DROP INDEX CONCURRENTLY IF EXISTS plans_name_idx",
    alone: true,
    breaking: false,
};

/// Runs an action on the shared tables.
async fn run_shared(
    db: &DatabaseConnection,
    config: &Config,
    action: Action,
) -> Result<MigrationOutcome, MigrationError> {
    let shared = config.migrator.shared().unwrap();
    run(db, &shared.target(), shared.migrator(), &action, Timeouts::default()).await
}

#[tokio::test]
async fn concurrent_first_runs_create_the_shared_tables_once() {
    let db = TestDb::new().await;
    let (plain, config) = (db.plain().await, config(&db, [PLANS, PRICE, INDEX]));
    let runs = tokio::join!(migrate(&plain, &config), migrate(&plain, &config));
    runs.0.unwrap();
    runs.1.unwrap();
    let names = texts(&plain, "SELECT version FROM shared.seaql_migrations ORDER BY 1").await;
    assert_eq!(names, ["s1_plans", "s2_price", "s3_index"]);
    let index = "SELECT indexdef FROM pg_indexes WHERE indexname = 'plans_name_idx'";
    assert!(texts(&plain, index).await[0].contains("ON shared.plans"));
}

#[tokio::test]
async fn a_program_needs_its_shared_migrations_and_accepts_newer_ones() {
    let (db, plain, current) = with_plans().await;
    let next = config(&db, [PLANS, PRICE]);
    let error = Tenancy::connect(&next).await.unwrap_err();
    let Error::SharedBehind { schema, pending: 1 } = &error else { panic!("{error}") };
    assert_eq!(schema.as_str(), "shared");
    migrate(&plain, &next).await.unwrap();
    Tenancy::connect(&next).await.unwrap();
    // The previous release restarts, and its deployment runs again.
    Tenancy::connect(&current).await.unwrap();
    migrate(&plain, &current).await.unwrap();
    assert_eq!(shared_state(&plain, &next.migrator).await.unwrap().applied.len(), 2);
    // It does not roll back what newer migrations may depend on.
    let down = run_shared(&plain, &current, Action::Down(1)).await;
    assert!(matches!(down, Err(MigrationError::UnknownMigrations { .. })));
    let down = run_shared(&plain, &next, Action::Down(1)).await;
    assert_eq!(down.unwrap().rolled_back, ["s2_price"]);
}

#[tokio::test]
async fn a_missing_shared_schema_is_behind_and_only_up_creates_it() {
    let db = TestDb::new().await;
    let (plain, config) = (db.plain().await, config(&db, [PLANS]));
    let error = Tenancy::connect(&config).await.unwrap_err();
    assert!(matches!(error, Error::SharedBehind { pending: 1, .. }), "{error}");
    let fresh = Action::Fresh { cascade: true };
    for action in [Action::Down(1), Action::Redo, Action::To("s1_plans".to_owned()), fresh] {
        let error = run_shared(&plain, &config, action.clone()).await.unwrap_err();
        assert!(matches!(error, MigrationError::MissingShared { .. }), "{action:?}: {error}");
    }
    assert!(!tables(&plain).await.iter().any(|table| table.starts_with("shared.")));
}

#[tokio::test]
async fn a_fleet_run_adds_foreign_keys_to_a_shared_table_in_parallel() {
    let (db, plain, config) = with_plans().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for number in 0..24 {
        tenancy.create(NewTenant::new(slug(&format!("town-{number}")))).await.unwrap();
    }
    let more = Sql {
        name: "m2_second",
        up: "ALTER TABLE orders ADD COLUMN second uuid CONSTRAINT orders_second_fkey
            REFERENCES shared.plans (id)",
        ..ORDERS
    };
    let shared = SharedMigrator::new(sql_migrator([PLANS]));
    let migrator = DynMigrator::tenant(sql_migrator([ORDERS, more])).with_shared(shared);
    let options = FleetOptions {
        jobs: 8,
        timeouts: Timeouts { lock: Some(Duration::from_secs(2)), ..Timeouts::default() },
        ..FleetOptions::default()
    };
    let mut pool = sea_orm::ConnectOptions::new(db.url());
    pool.max_connections(9).sqlx_logging(false);
    let pool = sea_orm::Database::connect(pool).await.unwrap();
    let stop = Default::default();
    let who = TenantSelection::All;
    let fleet = run_fleet(&pool, &migrator, &who, &Action::Up(None), &options, &stop, |event| {
        assert!(!matches!(event, tenantry_migrate::Event::Failed { .. }), "{event:?}");
    });
    assert_eq!(fleet.await.unwrap().done, 24);
    let keys = "SELECT count(*)::text FROM pg_constraint WHERE conname = 'orders_second_fkey'";
    assert_eq!(texts(&plain, keys).await, ["24"]);
}

#[tokio::test]
async fn tenants_whose_tables_refer_to_shared_ones_are_created_migrated_and_dropped() {
    let (_db, plain, config) = with_plans().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for name in ["acme", "beta"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let insert =
        "INSERT INTO beta.orders (id, plan_id) VALUES (gen_random_uuid(), gen_random_uuid())";
    let error = plain.execute_unprepared(insert).await.unwrap_err();
    assert!(error.to_string().contains("orders_plan_id_fkey"), "{error}");
    let fresh = run_shared(&plain, &config, Action::Fresh { cascade: false }).await;
    let Err(MigrationError::HasDependents { dependents, .. }) = fresh else { panic!("{fresh:?}") };
    assert_eq!(dependents.len(), 2, "{dependents:?}");
    let stop = Default::default();
    for action in [Action::Down(1), Action::Up(None)] {
        let options = FleetOptions::default();
        let fleet = run_fleet(
            &plain,
            &config.migrator,
            &TenantSelection::All,
            &action,
            &options,
            &stop,
            |event| assert!(!matches!(event, tenantry_migrate::Event::Failed { .. }), "{event:?}"),
        );
        assert_eq!(fleet.await.unwrap().done, 2);
    }
    tenancy.drop(&slug("acme")).await.unwrap();
    let tables = tables(&plain).await;
    assert!(tables.contains(&"shared.plans".to_owned()), "{tables:?}");
    assert!(!tables.iter().any(|table| table.starts_with("acme.")), "{tables:?}");
}
