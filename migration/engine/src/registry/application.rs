//! The application that a registry belongs to.

use sea_orm::{ConnectionTrait, EntityTrait};
use tenantry_registry::application;

use crate::{DbErrorKind, DynMigrator, Error, confirm_registry, registry, sql::query::execute};

/// Returns an error if the registry belongs to another application than `migrator`, or is too new
/// for this program. Accepts a registry that has no application yet, and a missing one.
///
/// # Errors
/// [`Error::OtherApplication`], [`Error::RegistryAhead`], [`Error::Database`].
pub async fn confirm_application(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    confirm_registry(db, &registry::migrator()).await?;
    match owner(db).await? {
        Owner::Application(name) => confirm(&name, migrator),
        Owner::None | Owner::NoRegistry => Ok(()),
    }
}

/// [`confirm_application`]; assigns a registry without an application to that of `migrator`.
///
/// # Errors
/// As for [`confirm_application`].
pub async fn claim_application(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    confirm_registry(db, &registry::migrator()).await?;
    let program = migrator.application();
    match owner(db).await? {
        Owner::Application(name) => confirm(&name, migrator),
        Owner::None if !program.is_empty() => {
            // Another program may do the same concurrently.
            let sql = "INSERT INTO registry.application (name) VALUES ($1) ON CONFLICT DO NOTHING";
            execute(db, sql, [program.into()]).await?;
            confirm_application(db, migrator).await
        }
        Owner::None | Owner::NoRegistry => Ok(()),
    }
}

enum Owner {
    NoRegistry,
    None,
    Application(String),
}

async fn owner(db: &impl ConnectionTrait) -> Result<Owner, Error> {
    match application::Entity::find().one(db).await {
        Ok(row) => Ok(row.map_or(Owner::None, |row| Owner::Application(row.name))),
        Err(error) if DbErrorKind::of(&error) == DbErrorKind::UndefinedTable => {
            Ok(Owner::NoRegistry)
        }
        Err(error) => Err(error.into()),
    }
}

fn confirm(owner: &str, migrator: &DynMigrator) -> Result<(), Error> {
    let program = migrator.application();
    match program.is_empty() || owner == program {
        true => Ok(()),
        false => {
            Err(Error::OtherApplication { registry: owner.to_owned(), program: program.to_owned() })
        }
    }
}
