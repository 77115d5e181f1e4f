use std::{fmt, sync::Arc};

use sea_orm::DynIden;
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

/// Any migrator, with its type forgotten, so that what holds one needs no type parameter.
///
/// ```
/// let migrator = migration::AnyMigrator::new(migration::tenant::Migrator);
/// assert_eq!(migrator.names()[0], "m20261123_000001_create_guards");
/// ```
#[derive(Clone)]
pub struct AnyMigrator {
    migrations: Arc<dyn Fn() -> Vec<Box<dyn MigrationTrait>> + Send + Sync>,
    table: DynIden,
}

impl AnyMigrator {
    /// Wraps `migrator`.
    pub fn new<M: MigratorTraitSelf + 'static>(migrator: M) -> Self {
        let table = migrator.migration_table_name();
        Self { migrations: Arc::new(move || migrator.migrations()), table }
    }

    /// The names of all migrations, oldest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.migrations().iter().map(|migration| migration.name().to_owned()).collect()
    }

    /// The name of the newest migration: the version a schema has when it is up to date.
    #[must_use]
    pub fn latest(&self) -> Option<String> {
        self.names().pop()
    }
}

impl MigratorTraitSelf for AnyMigrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        (self.migrations)()
    }

    fn migration_table_name(&self) -> DynIden {
        self.table.clone()
    }
}

impl fmt::Debug for AnyMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyMigrator").field(&self.names()).finish()
    }
}
