//! A lending library: a second application, on the engine's crates alone.
//!
//! Each tenant is a library with its own books: one entity, one migration, one route.

pub mod book;
mod m20261129_000001_create_books;
mod routes;

use std::{
    error::Error,
    io::{self, Write},
};

use clap::Subcommand;
use sea_orm::{DbErr, EntityTrait, IntoActiveModel, PaginatorTrait};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
use tenantry::{Slug, Tenancy, TenantTransaction};
use tenantry_axum::cli::App;
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

/// Commands of the library, beside those that every application has.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the number of books of a tenant.
    Books {
        /// Slug of the tenant.
        slug: Slug,
    },
}

/// The command `library`.
#[must_use]
pub fn app() -> App {
    App::new(Migrator)
        .name("library")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serve the books of each library")
        .routes(routes::routes())
        .seed(seed)
        .commands(run)
        .example("/books", "")
}

/// Every library begins with one book.
async fn seed(tenant: &TenantTransaction) -> Result<(), DbErr> {
    let first = book::Model { isbn: "978-0-14-143951-8".into(), title: "Emma".into() };
    book::Entity::insert(first.into_active_model()).exec_without_returning(tenant).await.map(drop)
}

async fn run(command: Command, tenancy: Tenancy) -> Result<(), Box<dyn Error + Send + Sync>> {
    match command {
        Command::Books { slug } => {
            let tenant = tenancy.tenant(&slug).await?;
            writeln!(io::stdout(), "{}", book::Entity::find().count(&tenant).await?)?;
        }
    }
    Ok(())
}
