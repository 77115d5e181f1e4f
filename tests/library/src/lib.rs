//! A lending library: a second application, on the engine's crates alone.
//!
//! Each tenant is a library with its own books: one entity, one migration, one route.

pub mod book;
mod m20261129_000001_create_books;
mod routes;

use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
use tenantry_axum::cli::{App, Example};
use tenantry_migrate::TenantMigrator;

/// The migrations of a library's schema.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261129_000001_create_books::Migration)]
    }
}

impl TenantMigrator for Migrator {}

/// The application that the `library` command serves.
#[must_use]
pub fn app() -> App<Migrator> {
    App {
        migrator: Migrator,
        routes: routes::routes(),
        examples: vec![Example { path: "/books", arguments: "" }],
    }
}
