//! Migrations of a tenant's schema: tables that every tenant has.
//!
//! They never name a schema: each runs with `search_path` set to exactly one tenant's schema.

use sea_orm_migration::{MigratorTraitSelf, prelude::*};

use tenantry_migrate::TenantMigrator;

mod m20261123_000001_create_guards;
mod m20261123_000002_create_shifts;

/// Version of this workspace's programs, with the commit.
pub const VERSION: &str = env!("VERSION");

/// The migrations of a tenant's schema, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_guards::Migration),
            Box::new(m20261123_000002_create_shifts::Migration),
        ]
    }
}

impl TenantMigrator for Migrator {}
