//! Migrations of the registry: tables that exist once.

use sea_orm_migration::{MigratorTraitSelf, prelude::*};

mod m20261123_000001_create_tenants;
mod m20261123_000002_create_domains;

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
