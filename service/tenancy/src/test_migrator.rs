//! A migrator for unit tests.

use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::TenantMigrator;

pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Nothing)]
    }
}

impl TenantMigrator for Migrator {}

struct Nothing;

impl MigrationName for Nothing {
    fn name(&self) -> &str {
        "m20260101_000001_nothing"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Nothing {
    async fn up(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}
