//! Tenants of schemas that exist already.

mod command;
mod differences;
pub mod from_schema;
mod lists;
mod names;
mod refusals;
mod schema;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{AdoptOptions, NewTenant, SchemaName, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Target, Timeouts,
    drift::{VerifyTarget, verify},
    run,
};

use crate::support::slug;

/// The application's first migration.
const GUARDS: &str = "m20261123_000001_create_guards";

/// Creates a schema in which the migrations run without a tenant.
async fn existing(db: &DatabaseConnection, name: &str, action: &Action) -> SchemaName {
    let schema: SchemaName = name.parse().unwrap();
    db.execute_unprepared(&format!("CREATE SCHEMA {}", schema.quoted())).await.unwrap();
    let target = Target::Schema(schema.clone());
    run(db, &target, &migrator(), action, Timeouts::default()).await.unwrap();
    schema
}

fn migrator() -> DynMigrator {
    DynMigrator::tenant(migration::Migrator)
}

/// Adopts a schema as the tenant of this slug.
async fn adopt(
    tenancy: &Tenancy,
    name: &str,
    options: &AdoptOptions,
) -> Result<tenantry::Adopted, tenantry::Error> {
    tenancy.adopt(NewTenant::new(slug(name)), options).await
}

async fn assert_clean(db: &DatabaseConnection, migrator: &DynMigrator) {
    let found = verify(db, migrator, &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
}
