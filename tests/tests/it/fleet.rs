//! Fleet runs: which tenants are migrated, in which order, and what happens on errors.

mod concurrent;
mod faults;
mod leftovers;
mod locks;
mod order;
mod processes;
mod races;
mod snapshots;

use std::{
    sync::{Mutex, atomic::AtomicBool},
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::{ConnectOptions, DatabaseConnection};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Event, FleetOptions, Summary, TenantSelection, Timeouts, run_fleet,
};

use crate::support::{
    TestDb, slug,
    sql_migration::{BOOKS, SqlMigrator, sql_migrator},
};

/// A database with the tenants `town-0` and so on, at the migration BOOKS.
async fn towns(number: usize) -> TestDb {
    let db = TestDb::new().await;
    found_towns(&db.url(), number).await;
    db
}

async fn found_towns(url: &str, number: usize) {
    let tenancy = Tenancy::connect(&Config::new(url, sql_migrator([BOOKS]))).await.unwrap();
    let found = (0..number).map(|town| {
        let tenancy = tenancy.clone();
        async move { tenancy.create(NewTenant::new(slug(&format!("town-{town}")))).await.unwrap() }
    });
    join_all(found).await;
    tenancy.close().await;
}

/// A pool with this number of connections.
async fn pool(url: &str, connections: u32) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false);
    tenantry_migrate::connect::open(options).await.unwrap()
}

fn fleet() -> FleetOptions {
    FleetOptions {
        jobs: 4,
        timeouts: Timeouts { lock: Some(Duration::from_millis(200)), ..Timeouts::default() },
        max_attempts: 3,
        ..FleetOptions::default()
    }
}

/// Result of a run.
#[derive(Debug)]
struct FleetRun {
    summary: Summary,
    /// Tenants that were migrated, in that order.
    done: Vec<String>,
    /// Tenants that failed, with the error.
    failed: Vec<(String, String)>,
}

/// Migrates all tenants.
async fn up(db: &DatabaseConnection, all: SqlMigrator, fleet: &FleetOptions) -> FleetRun {
    up_selected(db, all, &TenantSelection::All, fleet).await
}

async fn up_selected(
    db: &DatabaseConnection,
    all: SqlMigrator,
    who: &TenantSelection,
    fleet: &FleetOptions,
) -> FleetRun {
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let report = |event: &Event<'_>| match event {
        Event::Planned { .. } | Event::CanariesDone => {}
        Event::Done { tenant, outcome, .. } if outcome.changed() => {
            done.lock().unwrap().push(tenant.to_string());
        }
        Event::Done { .. } => {}
        Event::Failed { tenant, error } => {
            failed.lock().unwrap().push((tenant.to_string(), error.to_string()));
        }
    };
    let (migrator, stop) = (DynMigrator::tenant(all), AtomicBool::new(false));
    let action = Action::Up(None);
    let summary = run_fleet(db, &migrator, who, &action, fleet, &stop, report).await.unwrap();
    FleetRun { summary, done: done.into_inner().unwrap(), failed: failed.into_inner().unwrap() }
}

/// Versions of all tenants with their number, as `3 m1_books`.
async fn versions(db: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT count(*) || ' ' || schema_version FROM registry.tenants
               GROUP BY schema_version ORDER BY schema_version";
    crate::support::catalog::texts(db, sql).await
}
