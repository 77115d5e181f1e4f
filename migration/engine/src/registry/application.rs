//! The application that a registry belongs to.

use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement};
use tenantry_registry::application;

use crate::{DbErrorKind, DynMigrator, Error, confirm_registry, registry};

/// Refuses a registry that belongs to another application than `migrator`, or that this program
/// cannot work with. One that belongs to none yet, or that is not there, is anybody's.
///
/// # Errors
/// [`Error::OtherApplication`], [`Error::RegistryAhead`], [`Error::Database`].
pub async fn confirm_application(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    confirm_registry(db, &registry::migrator()).await?;
    let owner = owner(db).await?.and_then(|owner| owner.name);
    confirm(owner.as_deref(), migrator)
}

/// [`confirm_application`], and from now on the registry belongs to the application of `migrator`.
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
        Some(Owner { name: None }) if !program.is_empty() => {}
        other => return confirm(other.and_then(|owner| owner.name).as_deref(), migrator),
    }
    // Somebody else may do so at the same moment.
    let claim = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO registry.application (name) VALUES ($1) ON CONFLICT DO NOTHING",
        [program.into()],
    );
    db.execute_raw(claim).await?;
    confirm_application(db, migrator).await
}

/// What a registry says about its application.
struct Owner {
    /// None when it belongs to nobody yet.
    name: Option<String>,
}

/// None where there is no registry.
async fn owner(db: &impl ConnectionTrait) -> Result<Option<Owner>, Error> {
    match application::Entity::find().one(db).await {
        Ok(row) => Ok(Some(Owner { name: row.map(|row| row.name) })),
        Err(error) if DbErrorKind::of(&error) == DbErrorKind::UndefinedTable => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn confirm(owner: Option<&str>, migrator: &DynMigrator) -> Result<(), Error> {
    let program = migrator.application();
    match owner {
        Some(owner) if !program.is_empty() && owner != program => {
            Err(Error::OtherApplication { registry: owner.to_owned(), program: program.to_owned() })
        }
        _ => Ok(()),
    }
}
