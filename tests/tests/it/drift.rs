//! `migration verify`: finds injected differences, and nothing else.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use serde_json::{Value, json};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Error, Target, Timeouts,
    drift::{Finding, Verification, VerifyError, VerifyTarget, read_structure, verify},
    run,
};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    process::Ran,
    slug,
    sql_migration::{BOOKS, SHELF, Sql, SqlMigrator, sql_migrator},
};

mod allowlist;
mod applications;
mod findings;
mod injected_drift;
mod not_compared;
mod server_own;

const FIRST: &str = "m20261123_000001_create_guards";
const NEWEST: &str = "m20261123_000002_create_shifts";

/// Everything that is wrong in a database.
async fn all(db: &DatabaseConnection) -> Verification {
    verify(db, &DynMigrator::new(migration::Migrator), &VerifyTarget::All).await.unwrap()
}

/// The differences of each schema that drifted.
fn said(found: &Verification) -> BTreeMap<String, Vec<String>> {
    let mut said = BTreeMap::new();
    for finding in &found.findings {
        if let Finding::Drift { tenants, difference, .. } = finding {
            let lines: Vec<String> = difference.iter().map(ToString::to_string).collect();
            for tenant in tenants {
                said.insert(tenant.schema.to_string(), lines.clone());
            }
        }
    }
    said
}

/// Runs SQL in the scope of a schema.
async fn plant(db: &DatabaseConnection, schema: &str, sql: &str) {
    let script = format!("BEGIN; SET LOCAL search_path = \"{schema}\"; {sql}; COMMIT");
    db.execute_unprepared(&script).await.unwrap();
}

async fn texts_in(txn: &sea_orm::DatabaseTransaction, sql: &str) -> Vec<String> {
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
    let rows = txn.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

fn verify_with(db: &TestDb, arguments: &[&str]) -> Ran {
    Ran::on("migration", &db.url(), &[&["verify"], arguments].concat())
}

fn migrate(db: &TestDb, arguments: &[&str]) {
    Ran::on("migration", &db.url(), arguments).exits(0);
}
