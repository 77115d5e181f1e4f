//! Tables that exist once, in a schema of their own.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::SchemaName;

use crate::{
    Action, DynMigrator, Error, MigrationState, Target,
    citus::{confirm_local, keep_local},
    extension::Extensions,
    lock::registry_exists,
    registry::compatibility::confirm_known,
    run::state,
    sql::query::{execute_batch, scalar},
};

/// Migrator of the tables that exist once, and the schema that they are in.
///
/// Its migrations run like those of a tenant: with `search_path` set to exactly this schema, so they
/// do not name it. No tenant gets a schema of this name. During a rolling release, programs of the
/// previous release use the tables of the next one: a migration must leave that release working.
///
/// ```
/// use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
/// use tenantry_migrate::{SharedMigrator, TenantMigrator};
///
/// struct Shared;
///
/// impl MigratorTraitSelf for Shared {
///     fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
///         vec![] // create_plans, create_jobs, …
///     }
/// }
///
/// struct Migrator;
///
/// impl MigratorTraitSelf for Migrator {
///     fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
///         vec![]
///     }
/// }
///
/// impl TenantMigrator for Migrator {
///     fn shared(&self) -> Option<SharedMigrator> {
///         Some(SharedMigrator::new(Shared))
///     }
/// }
///
/// assert_eq!(Migrator.shared().unwrap().schema().as_str(), "shared");
/// ```
#[derive(Debug, Clone)]
pub struct SharedMigrator {
    migrator: DynMigrator,
    schema: SchemaName,
}

impl SharedMigrator {
    /// A migrator of tables in the schema `shared`.
    pub fn new<M: MigratorTraitSelf + 'static>(migrator: M) -> Self {
        Self { migrator: DynMigrator::new(migrator), schema: SchemaName::shared() }
    }

    /// Sets another schema.
    #[must_use]
    pub fn in_schema(self, schema: SchemaName) -> Self {
        Self { schema, ..self }
    }

    pub(crate) fn with_extensions(self, extensions: Extensions) -> Self {
        Self { migrator: self.migrator.with_extensions(extensions), ..self }
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// The migrations.
    #[must_use]
    pub fn migrator(&self) -> &DynMigrator {
        &self.migrator
    }

    /// The schema as the target of a run.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Shared(self.schema.clone())
    }
}

/// Returns the applied and pending migrations of the tables that exist once; nothing if `migrator`
/// has none. If their schema does not exist, all are pending. Migrations of a newer program are
/// ignored.
///
/// # Errors
/// [`Error::Database`].
pub async fn shared_state(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Result<MigrationState, Error> {
    let Some(shared) = migrator.shared() else { return Ok(MigrationState::default()) };
    match state(db, &shared.target(), shared.migrator()).await {
        Err(Error::MissingShared { .. }) => Ok(MigrationState::empty(shared.migrator())),
        state => state,
    }
}

/// Returns an error if tenants' migrations are to run in the schema of the tables that exist once.
pub(crate) fn ensure_not_shared(target: &Target, migrator: &DynMigrator) -> Result<(), Error> {
    match target {
        Target::Schema(schema) if migrator.is_shared(schema) => {
            Err(Error::SharedSchema { schema: schema.clone() })
        }
        _ => Ok(()),
    }
}

/// Prepares a run on the schema of the tables that exist once. The first run creates the schema.
pub(crate) async fn prepare(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
    action: &Action,
) -> Result<(), Error> {
    confirm_local(txn, target).await?;
    match action {
        // Without the statement if it exists: PostgreSQL requires the privilege all the same.
        Action::Up(_) if !exists(txn, target).await? => {
            keep_local(txn).await?;
            execute_batch(txn, &create_sql(target)).await?;
        }
        Action::Up(_) | Action::Fresh { .. } => {}
        _ => confirm_known(txn, target, migrator).await?,
    }
    // After the schema exists: it may belong to a tenant that was created meanwhile.
    ensure_not_of_tenant(txn, target).await
}

/// The statement that creates the schema.
pub(crate) fn create_sql(target: &Target) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", target.quoted())
}

pub(crate) async fn exists(txn: &impl ConnectionTrait, target: &Target) -> Result<bool, Error> {
    let sql = "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = $1";
    Ok(scalar::<bool>(txn, sql, [target.name().into()]).await?.is_some())
}

/// Returns an error if a tenant has, or has had, a schema of this name, or is getting it.
pub(crate) async fn ensure_not_of_tenant(
    txn: &impl ConnectionTrait,
    target: &Target,
) -> Result<(), Error> {
    // The mark of a creation with commits.
    let creation = "SELECT true FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
         AND obj_description(n.oid, 'pg_namespace') LIKE 'tenantry:%'";
    let mut taken = scalar::<bool>(txn, creation, [target.name().into()]).await?;
    if taken.is_none() && registry_exists(txn).await? {
        let sql = "SELECT true FROM registry.tenants WHERE schema = $1";
        taken = scalar(txn, sql, [target.name().into()]).await?;
    }
    match taken {
        None => Ok(()),
        Some(_) => Err(Error::SharedSchemaTaken { schema: target.name().to_owned() }),
    }
}
