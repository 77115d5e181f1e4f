use std::io::{BufRead, IsTerminal, Write};

use sea_orm::{ColumnTrait, DatabaseConnection, QueryFilter};
use tenantry_registry::{Slug, tenant};
use thiserror::Error;

use super::{args::Targets, format::join_truncated};
use crate::{Error, Target, TenantSelection, fleet::tenants_by_slug};

/// What a command works on.
#[derive(Debug)]
pub(super) enum ResolvedTarget {
    /// One schema, named as such.
    One(Target),
    /// Tenants.
    Tenants(TenantSelection),
}

/// Why the command did nothing at all.
#[derive(Debug, Error)]
pub(super) enum TargetError {
    #[error(
        "there is no tenant {0}; `tenantry tenant list` shows those there are (nothing was changed)"
    )]
    UnknownTenant(Slug),
    #[error(
        "tenant {0} is being dropped; `tenantry tenant drop {0}` finishes it (nothing was changed)"
    )]
    Dropping(Slug),
    #[error("not confirmed: {0:?} is not yes; nothing was changed")]
    NotConfirmed(String),
    #[error(
        "stdin is not a terminal, so the deletion of data cannot be confirmed there; pass --yes to \
         confirm (nothing was changed)"
    )]
    NoTerminal,
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What the user named. Only tenants that were named one by one are looked up: all of them, before
/// anything is touched.
pub(super) async fn resolve(
    db: &DatabaseConnection,
    targets: &Targets,
    only_failed: bool,
) -> Result<ResolvedTarget, TargetError> {
    if targets.registry {
        return Ok(ResolvedTarget::One(Target::Registry));
    }
    if let Some(schema) = &targets.schema {
        return Ok(ResolvedTarget::One(Target::Schema(schema.clone())));
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
pub(super) fn confirm_fresh(schemas: &[&str]) -> Result<(), TargetError> {
    let names = join_truncated(schemas.iter().copied(), schemas.len());
    confirm(&format!("This deletes ALL DATA in {names}."))
}

/// Asks before tables or columns are dropped in all tenants.
pub(super) fn confirm_drops(statements: &[String]) -> Result<(), TargetError> {
    let statements = join_truncated(statements.iter().map(String::as_str), statements.len());
    confirm(&format!("This deletes data of ALL TENANTS: {statements}."))
}

fn confirm(warning: &str) -> Result<(), TargetError> {
    if !std::io::stdin().is_terminal() {
        return Err(TargetError::NoTerminal);
    }
    let mut out = std::io::stderr().lock();
    write!(out, "{warning} Type yes to go on: ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        other => Err(TargetError::NotConfirmed(other.to_owned())),
    }
}
