//! Migrations of the registry: tables that exist once.

use sea_orm_migration::{MigratorTraitSelf, prelude::*};

use sea_orm::DatabaseConnection;

use crate::{Action, DynMigrator, Error, Target, Timeouts, make_extensions, run};

pub(crate) mod application;
pub(crate) mod compatibility;
mod m20261123_000001_create_tenants;
mod m20261123_000002_create_domains;
mod m20261130_000001_create_audit;
mod m20261130_000002_tenant_life;
mod m20261130_000003_create_api_keys;
mod m20261130_000004_http_limits;

/// Breaking migrations: programs without them refuse the registry. All other migrations must leave
/// the previous release working, as for
/// [`TenantMigrator::breaking`](crate::TenantMigrator::breaking).
pub const BREAKING: &[&str] = &[];

/// The registry's migrator, with its breaking migrations.
#[must_use]
pub fn migrator() -> DynMigrator {
    DynMigrator::new(Migrator).with_breaking(BREAKING)
}

/// Migrates everything that exists once: the registry, the extensions of `tenants`, and its
/// [shared tables](crate::TenantMigrator::shared), which the migrations of tenants may refer to.
///
/// # Errors
/// As for [`run`](fn@crate::run) and [`make_extensions`].
pub async fn migrate(
    db: &DatabaseConnection,
    tenants: &DynMigrator,
    timeouts: Timeouts,
) -> Result<(), Error> {
    up(db, &Target::Registry, &migrator(), timeouts).await?;
    make_extensions(db, tenants).await?;
    match tenants.shared() {
        Some(shared) => up(db, &shared.target(), shared.migrator(), timeouts).await,
        None => Ok(()),
    }
}

async fn up(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
    timeouts: Timeouts,
) -> Result<(), Error> {
    let applied = run(db, target, migrator, &Action::Up(None), timeouts).await?.applied;
    if !applied.is_empty() {
        tracing::info!(schema = target.name(), ?applied, "migrated");
    }
    Ok(())
}

/// The registry's migrations, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_tenants::Migration),
            Box::new(m20261123_000002_create_domains::Migration),
            Box::new(m20261130_000001_create_audit::Migration),
            Box::new(m20261130_000002_tenant_life::Migration),
            Box::new(m20261130_000003_create_api_keys::Migration),
            Box::new(m20261130_000004_http_limits::Migration),
        ]
    }
}
