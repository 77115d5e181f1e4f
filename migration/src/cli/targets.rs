use std::io::{BufRead, IsTerminal, Write};

use entity::registry::{Slug, tenant};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder};
use thiserror::Error;

use super::args::Targets;
use crate::{Fault, Member, Target};

/// One schema to work on, and the tenant it belongs to if that is how it was named.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) slug: Option<Slug>,
    pub(super) target: Target,
    pub(super) member: Option<Member>,
}

/// Why the command did nothing at all.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error(
        "there is no tenant {0}; `tenantry tenant list` shows those there are (nothing was changed)"
    )]
    UnknownTenant(Slug),
    #[error(
        "the registry is not migrated; run `migration up --registry` first (nothing was changed)"
    )]
    NoRegistry,
    #[error(
        "tenant {0} is being dropped; `tenantry tenant drop {0}` finishes it (nothing was changed)"
    )]
    Dropping(Slug),
    #[error("not confirmed: {0:?} is not yes; nothing was changed")]
    NotConfirmed(String),
    #[error(
        "fresh deletes all data and asks first; there is no terminal to ask, so pass --yes to confirm"
    )]
    NoTerminal,
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Turns what the user named into schemas, all of them before anything is touched.
pub(super) async fn resolve(
    db: &DatabaseConnection,
    targets: &Targets,
) -> Result<Vec<Named>, Refusal> {
    if targets.registry {
        return Ok(vec![Named { slug: None, target: Target::Registry, member: None }]);
    }
    if let Some(schema) = &targets.schema {
        return Ok(vec![Named {
            slug: None,
            target: Target::Schema(schema.clone()),
            member: None,
        }]);
    }
    let mut query = tenant::Entity::find().order_by_asc(tenant::Column::Id);
    query = if targets.all {
        query.filter(tenant::Column::Status.ne(tenant::Status::Dropping))
    } else {
        query.filter(tenant::Column::Slug.is_in(targets.tenants.clone()))
    };
    let rows = query.all(db).await.map_err(|error| match Fault::of(&error) {
        Fault::Missing => Refusal::NoRegistry,
        _ => Refusal::Database(error),
    })?;
    for slug in &targets.tenants {
        if !rows.iter().any(|row| row.slug.as_ref() == Some(slug)) {
            return Err(Refusal::UnknownTenant(slug.clone()));
        }
    }
    let dropping = |row: &tenant::Model| row.status == tenant::Status::Dropping;
    if let Some(slug) = rows.iter().filter(|row| dropping(row)).find_map(|row| row.slug.clone()) {
        return Err(Refusal::Dropping(slug));
    }
    Ok(rows
        .into_iter()
        .map(|row| Named {
            slug: row.slug.clone(),
            target: Target::Schema(row.schema.clone()),
            member: Some(Member {
                id: row.id,
                slug: row.slug,
                schema: row.schema,
                version: row.schema_version,
            }),
        })
        .collect())
}

/// Asks before data is deleted.
pub(super) fn confirm_fresh(targets: &[Named]) -> Result<(), Refusal> {
    if !std::io::stdin().is_terminal() {
        return Err(Refusal::NoTerminal);
    }
    let names: Vec<&str> = targets.iter().map(|named| named.target.name()).collect();
    let mut out = std::io::stderr().lock();
    write!(out, "This deletes ALL DATA in {}. Type yes to go on: ", names.join(", "))?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        other => Err(Refusal::NotConfirmed(other.to_owned())),
    }
}
