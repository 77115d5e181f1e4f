//! Each test runs a chain of migrations in every way in which migrations are executed. All ways must
//! have the same result.

mod calls;
mod commits;
mod dumps;
mod entities;
mod enums;
mod extensions;
mod floats;
mod outside;
mod panics;
mod poolers;
mod refused;
mod swallowed;
mod texts;
mod ways;

use sea_orm::ConnectionTrait;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::{Extension, TenantMigrator};

use crate::support::sql_migration::Sql;

type Migrations = Vec<Box<dyn MigrationTrait>>;

/// A migrator.
#[derive(Clone, Copy)]
struct Chain {
    migrations: fn() -> Migrations,
    /// Whether the second migration cannot be recorded.
    odd: bool,
    /// Number of migrations, for an earlier release.
    limit: usize,
    extensions: fn() -> Vec<Extension>,
}

impl Chain {
    fn new(migrations: fn() -> Migrations) -> Self {
        Self { migrations, odd: false, limit: usize::MAX, extensions: Vec::new }
    }
}

impl MigratorTraitSelf for Chain {
    fn migrations(&self) -> Migrations {
        let mut migrations = (self.migrations)();
        if self.odd {
            migrations.insert(usize::from(!migrations.is_empty()), Box::new(Odd));
        }
        migrations.truncate(self.limit);
        migrations
    }
}

impl TenantMigrator for Chain {
    fn extensions(&self) -> Vec<Extension> {
        (self.extensions)()
    }
}

/// Sends another statement each time.
struct Odd;

impl MigrationName for Odd {
    fn name(&self) -> &str {
        "m1_odd"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Odd {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = format!("SELECT '{}'", uuid::Uuid::now_v7());
        manager.get_connection().execute_unprepared(&sql).await.map(drop)
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

/// A migration with one SQL string for each direction.
fn sql(name: &'static str, up: &'static str, down: &'static str) -> Box<dyn MigrationTrait> {
    Box::new(Sql { name, up, down, alone: false, breaking: false })
}

/// A non-transactional migration.
fn alone(name: &'static str, up: &'static str, down: &'static str) -> Box<dyn MigrationTrait> {
    Box::new(Sql { name, up, down, alone: true, breaking: false })
}

/// The first migration of every chain: an empty table.
fn first() -> Box<dyn MigrationTrait> {
    sql("m1_books", "CREATE TABLE books (isbn text PRIMARY KEY, title text)", "DROP TABLE books")
}
