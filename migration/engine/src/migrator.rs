//! Migrators of tenants' schemas.

use std::{fmt, sync::Arc};

use sea_orm::DynIden;
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
use tenantry_registry::SchemaName;
use tokio::sync::Mutex;

use crate::{
    Error,
    extension::{Extension, Extensions},
    provision::recording::RecordingCache,
    shared::SharedMigrator,
};

/// Migrator of tenants' schemas, with what running programs need to know about its migrations.
///
/// During a rolling release, programs of the previous release meet schemas that are ahead of them.
/// That is intended (expand, then contract): a migration is assumed to leave the previous release
/// working, unless it is listed in [`breaking`](Self::breaking).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a migrator of tenants' schemas",
    label = "`TenantMigrator` is not implemented",
    note = "a migrator of sea-orm-migration becomes one with `impl TenantMigrator for {Self} {{}}`: \
            all its functions have defaults"
)]
pub trait TenantMigrator: MigratorTraitSelf {
    /// Name of the application. The registry stores the name of the first program that used it and
    /// refuses programs with another name, because their migrations do not fit its tenants.
    ///
    /// The default is the name of the oldest migration. Override it before that migration is
    /// renamed or removed. An empty name matches every registry.
    fn application(&self) -> String {
        self.migrations().first().map(|oldest| oldest.name().to_owned()).unwrap_or_default()
    }

    /// Names of the migrations that break the previous release, such as one that drops a column
    /// which that release still reads. Programs without such a migration refuse a tenant as soon as
    /// it is applied to the tenant.
    fn breaking(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// PostgreSQL extensions that the migrations and the application's statements use, in the order
    /// of their dependencies. They are installed with the registry, in schemas that follow the
    /// tenant's schema in every `search_path`.
    fn extensions(&self) -> Vec<Extension> {
        Vec::new()
    }

    /// The migrations of tables that exist once, in a schema of their own; none by default.
    /// Migrations of tenants may refer to these tables, which are migrated with the registry,
    /// before any tenant.
    fn shared(&self) -> Option<SharedMigrator> {
        None
    }
}

/// Type-erased migrator.
///
/// ```
/// let migrator = tenantry_migrate::DynMigrator::new(tenantry_migrate::registry::Migrator);
/// assert_eq!(migrator.names()[0], "m20261123_000001_create_tenants");
/// ```
#[derive(Clone)]
pub struct DynMigrator {
    migrations: Arc<dyn Fn() -> Vec<Box<dyn MigrationTrait>> + Send + Sync>,
    table: DynIden,
    breaking: Arc<[&'static str]>,
    application: Arc<str>,
    extensions: Extensions,
    shared: Option<Arc<SharedMigrator>>,
    pub(crate) recordings: Arc<Mutex<RecordingCache>>,
}

impl DynMigrator {
    /// Wraps a migrator without breaking migrations.
    pub fn new<M: MigratorTraitSelf + 'static>(migrator: M) -> Self {
        let table = migrator.migration_table_name();
        Self {
            migrations: Arc::new(move || migrator.migrations()),
            table,
            breaking: Arc::default(),
            application: Arc::default(),
            extensions: Extensions::default(),
            shared: None,
            recordings: Arc::default(),
        }
    }

    /// Wraps a migrator of tenants' schemas.
    pub fn tenant<M: TenantMigrator + 'static>(migrator: M) -> Self {
        let (breaking, application) = (migrator.breaking().into(), migrator.application().into());
        let extensions = Extensions::new(migrator.extensions());
        let shared = migrator.shared();
        let tenant = Self { breaking, application, extensions, ..Self::new(migrator) };
        match shared {
            Some(shared) => tenant.with_shared(shared),
            None => tenant,
        }
    }

    /// Sets the migrations of tables that exist once, in place of
    /// [`TenantMigrator::shared`]. They may use the [extensions](Self::extensions), too.
    #[must_use]
    pub fn with_shared(self, shared: SharedMigrator) -> Self {
        let shared = shared.with_extensions(self.extensions.clone());
        Self { shared: Some(Arc::new(shared)), ..self }
    }

    pub(crate) fn with_extensions(self, extensions: Extensions) -> Self {
        Self { extensions, ..self }
    }

    /// The migrations of tables that exist once, see [`TenantMigrator::shared`].
    #[must_use]
    pub fn shared(&self) -> Option<&SharedMigrator> {
        self.shared.as_deref()
    }

    /// Whether this is the schema of the tables that exist once, which no tenant may have.
    #[must_use]
    pub fn is_shared(&self, schema: &SchemaName) -> bool {
        self.shared().is_some_and(|shared| shared.schema() == schema)
    }

    /// Sets the [breaking](Self::breaking) migrations.
    #[must_use]
    pub fn with_breaking(self, names: &[&'static str]) -> Self {
        Self { breaking: names.into(), ..self }
    }

    /// Name of the application, see [`TenantMigrator::application`]; empty for a migrator from
    /// [`new`](Self::new).
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// Breaking migrations, see [`TenantMigrator::breaking`].
    #[must_use]
    pub fn breaking(&self) -> &[&'static str] {
        &self.breaking
    }

    /// Required extensions, see [`TenantMigrator::extensions`].
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        self.extensions.all()
    }

    pub(crate) fn declared(&self) -> &Extensions {
        &self.extensions
    }

    /// The schemas of extensions for a `search_path`, each quoted and preceded by a comma.
    #[must_use]
    pub fn extension_path(&self) -> &str {
        self.extensions.path()
    }

    /// Checks that every breaking migration exists.
    ///
    /// # Errors
    /// [`Error::UnknownBreaking`].
    pub fn validate_breaking(&self) -> Result<(), Error> {
        let names = self.names();
        match self.breaking.iter().find(|name| !names.iter().any(|it| it == *name)) {
            Some(name) => Err(Error::UnknownBreaking { name: (*name).to_owned() }),
            None => Ok(()),
        }
    }

    /// Names of all migrations, oldest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.migrations().iter().map(|migration| migration.name().to_owned()).collect()
    }

    /// Name of the newest migration: the version of a schema that is up to date.
    #[must_use]
    pub fn latest(&self) -> Option<String> {
        self.names().pop()
    }

    /// The sorted names of all migrations, and of the breaking ones, as a registry row has them
    /// when all are applied.
    #[must_use]
    pub fn all_applied(&self) -> (Vec<String>, Vec<String>) {
        self.applied(self.names())
    }

    /// The migrator without the migrations that are not in `names`, for a schema of an earlier
    /// version. The migrations that it lacks are run by
    /// [`apply_remaining`](crate::apply_remaining).
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        if self.names().iter().all(|name| names.contains(name)) {
            return self.clone();
        }
        let (all, names) = (Arc::clone(&self.migrations), names.to_vec());
        let migrations = move || {
            let mut kept = all();
            kept.retain(|it| names.iter().any(|name| name == it.name()));
            kept
        };
        Self { migrations: Arc::new(migrations), recordings: Arc::default(), ..self.clone() }
    }

    /// Like [`all_applied`](Self::all_applied), if only these are applied.
    pub(crate) fn applied(&self, mut names: Vec<String>) -> (Vec<String>, Vec<String>) {
        names.sort_unstable();
        let breaking = |name: &&String| self.breaking.contains(&name.as_str());
        let breaking = names.iter().filter(breaking).cloned().collect();
        (names, breaking)
    }
}

impl MigratorTraitSelf for DynMigrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        (self.migrations)()
    }

    fn migration_table_name(&self) -> DynIden {
        self.table.clone()
    }
}

impl fmt::Debug for DynMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynMigrator").field(&self.names()).finish()
    }
}
