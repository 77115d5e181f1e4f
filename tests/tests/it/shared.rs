//! Shared tables, which exist once, in a schema of their own.

mod checked;
mod commands;
mod connection;
mod entities;
mod for_tenant;
mod jobs;
mod locks;
mod migrated;
mod schema_name;

use sea_orm::DatabaseConnection;
use tenantry::Config;
use tenantry_migrate::{SharedMigrator, Timeouts, registry};

use crate::support::{
    TestDb,
    sql_migration::{Sql, sql_migrator},
};

const PLANS: Sql = Sql {
    name: "s1_plans",
    up: "CREATE TABLE plans (id uuid CONSTRAINT plans_pkey PRIMARY KEY, name text NOT NULL)",
    down: "DROP TABLE plans",
    alone: false,
    breaking: false,
};

const PRICE: Sql = Sql {
    name: "s2_price",
    up: "ALTER TABLE plans ADD COLUMN price int",
    down: "ALTER TABLE plans DROP COLUMN price",
    alone: false,
    breaking: false,
};

/// A tenant's table whose rows refer to a shared one.
const ORDERS: Sql = Sql {
    name: "m1_orders",
    up: "CREATE TABLE orders (id uuid CONSTRAINT orders_pkey PRIMARY KEY, plan_id uuid
        CONSTRAINT orders_plan_id_fkey REFERENCES shared.plans (id))",
    down: "DROP TABLE orders",
    alone: false,
    breaking: false,
};

/// An application with tenants' orders and these shared migrations.
fn config<const N: usize>(db: &TestDb, shared: [Sql; N]) -> Config {
    Config::new(db.url(), sql_migrator([ORDERS]))
        .shared_migrator(SharedMigrator::new(sql_migrator(shared)))
}

/// Migrates the registry and the shared tables.
async fn migrate(db: &DatabaseConnection, config: &Config) -> Result<(), tenantry_migrate::Error> {
    registry::migrate(db, &config.migrator, Timeouts::default()).await
}

/// A database with the table `plans`, and its application.
async fn with_plans() -> (TestDb, DatabaseConnection, Config) {
    let db = TestDb::new().await;
    let (plain, config) = (db.plain().await, config(&db, [PLANS]));
    migrate(&plain, &config).await.unwrap();
    (db, plain, config)
}
