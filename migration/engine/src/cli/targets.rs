use sea_orm::{ColumnTrait, DatabaseConnection, QueryFilter};
use tenantry_registry::{Slug, tenant};
use thiserror::Error;

use super::{
    args::Targets,
    format::join_truncated,
    terminal::{ConfirmError, confirm},
};
use crate::{DynMigrator, Error, Target, TenantSelection, fleet::tenants_by_slug};

/// The schemas that a command works on.
#[derive(Debug)]
pub(super) enum ResolvedTarget {
    /// The registry, the shared tables or a schema given by name, each with its migrations.
    Schemas(Vec<(Target, DynMigrator)>),
    Tenants(TenantSelection),
}

/// Why no target could be resolved.
#[derive(Debug, Error)]
pub(super) enum TargetError {
    #[error("tenant \"{0}\" not found; nothing was changed")]
    UnknownTenant(Slug),
    #[error("tenant \"{0}\" is being dropped; nothing was changed")]
    Dropping(Slug),
    #[error(
        "this application has no shared tables (TenantMigrator::shared gives none); nothing was changed"
    )]
    NoShared,
    #[error(transparent)]
    Database(#[from] Error),
}

/// The migrators of an application.
pub(super) struct Migrators {
    pub(super) tenant: DynMigrator,
    pub(super) registry: DynMigrator,
}

impl Migrators {
    fn shared(&self) -> Option<(Target, DynMigrator)> {
        self.tenant.shared().map(|shared| (shared.target(), shared.migrator().clone()))
    }
}

/// Resolves the options. Tenants given by slug are looked up before anything is changed. `with_shared`
/// is whether the shared tables belong to the registry.
pub(super) async fn resolve(
    db: &DatabaseConnection,
    migrators: &Migrators,
    targets: &Targets,
    (only_failed, with_shared): (bool, bool),
) -> Result<ResolvedTarget, TargetError> {
    if targets.registry {
        let mut schemas = vec![(Target::Registry, migrators.registry.clone())];
        schemas.extend(migrators.shared().filter(|_| with_shared));
        return Ok(ResolvedTarget::Schemas(schemas));
    }
    if targets.shared {
        let shared = migrators.shared().ok_or(TargetError::NoShared)?;
        return Ok(ResolvedTarget::Schemas(vec![shared]));
    }
    if let Some(schema) = &targets.schema {
        let target = Target::Schema(schema.clone());
        return Ok(ResolvedTarget::Schemas(vec![(target, migrators.tenant.clone())]));
    }
    if targets.tenants.is_empty() {
        return Ok(ResolvedTarget::Tenants(if only_failed {
            TenantSelection::LastMigrationFailed
        } else {
            TenantSelection::All
        }));
    }
    let members = tenants_by_slug(db, &targets.tenants).await?;
    let named = |slug: &&Slug| members.iter().any(|it| it.slug.as_ref() == Some(*slug));
    match targets.tenants.iter().find(|slug| !named(slug)) {
        Some(slug) if is_dropping(db, slug).await? => Err(TargetError::Dropping(slug.clone())),
        Some(slug) => Err(TargetError::UnknownTenant(slug.clone())),
        None => Ok(ResolvedTarget::Tenants(TenantSelection::Only(members))),
    }
}

async fn is_dropping(db: &DatabaseConnection, slug: &Slug) -> Result<bool, Error> {
    let row =
        tenant::Entity::find_living().filter(tenant::Column::Slug.eq(slug.clone())).one(db).await?;
    Ok(row.is_some_and(|row| row.status == tenant::Status::Dropping))
}

/// Asks before all data of schemas is deleted.
pub(super) fn confirm_fresh(schemas: &[&str]) -> Result<(), ConfirmError> {
    let names = join_truncated(schemas.iter().copied(), schemas.len());
    confirm(&format!("This deletes ALL DATA in {names}. Type yes to continue: "), "yes")
}

/// Asks before tables or columns are dropped in all tenants.
pub(super) fn confirm_drops(statements: &[String]) -> Result<(), ConfirmError> {
    let statements = join_truncated(statements.iter().map(String::as_str), statements.len());
    confirm(
        &format!("This deletes data of ALL TENANTS: {statements}. Type yes to continue: "),
        "yes",
    )
}
