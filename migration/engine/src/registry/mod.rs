//! Migrations of the registry: tables that exist once.

use sea_orm_migration::{MigratorTraitSelf, prelude::*};

use crate::DynMigrator;

pub(crate) mod application;
pub(crate) mod compatibility;
mod m20261123_000001_create_tenants;
mod m20261123_000002_create_domains;

/// Breaking migrations: programs without them refuse the registry. All other migrations must leave
/// the previous release working, as for
/// [`TenantMigrator::breaking`](crate::TenantMigrator::breaking).
pub const BREAKING: &[&str] = &[];

/// The registry's migrator, with its breaking migrations.
#[must_use]
pub fn migrator() -> DynMigrator {
    DynMigrator::new(Migrator).with_breaking(BREAKING)
}

/// The registry's migrations, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_tenants::Migration),
            Box::new(m20261123_000002_create_domains::Migration),
        ]
    }
}
