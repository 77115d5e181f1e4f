//! Migrations of the shared tables, which exist once.
//!
//! They never name a schema: they run with `search_path` set to exactly the shared schema.

use sea_orm_migration::{MigratorTraitSelf, prelude::*};

/// The migrations of the shared tables, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![]
    }
}
