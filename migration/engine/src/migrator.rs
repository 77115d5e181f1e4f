use std::{fmt, sync::Arc, time::SystemTime};

use sea_orm::DynIden;
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
use tokio::sync::Mutex;

use crate::{
    Error, Target,
    extension::{Extension, Extensions},
    plan::all_up,
    provision::recorder::Rehearsal,
    provision::recording::Recording,
};

/// A migrator of tenants' schemas, which says what its migrations mean for running programs.
///
/// While a fleet is migrated and a new release is rolled out, programs of the release before meet
/// schemas that are ahead of them. That is how it should be (expand, then contract): a migration is
/// taken to leave the program before it working, unless it is listed here.
pub trait TenantMigrator: MigratorTraitSelf {
    /// Name of the application. The registry keeps the one of the program that used it first, and
    /// programs of other applications are refused: to them its tenants have the wrong tables.
    ///
    /// Unless it is overridden, it is the name of the oldest migration. Override it before that
    /// migration is renamed or removed. An empty name belongs to every registry.
    fn application(&self) -> String {
        self.migrations().first().map(|oldest| oldest.name().to_owned()).unwrap_or_default()
    }

    /// Names of the migrations that programs without them cannot work with, such as one that drops
    /// a column which the release before still reads. Those programs refuse a tenant from the
    /// moment on when such a migration is applied to it.
    fn breaking(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The extensions of PostgreSQL that the migrations and the application's statements use, each
    /// after those that it needs itself. They are installed with the registry, in schemas that come
    /// behind the tenant's in every `search_path`.
    fn extensions(&self) -> Vec<Extension> {
        Vec::new()
    }
}

/// Any migrator, with its type forgotten, so that what holds one needs no type parameter.
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
    recorded: Arc<Mutex<Recorded>>,
}

impl DynMigrator {
    /// Wraps a migrator none of whose migrations is breaking.
    pub fn new<M: MigratorTraitSelf + 'static>(migrator: M) -> Self {
        let table = migrator.migration_table_name();
        Self {
            migrations: Arc::new(move || migrator.migrations()),
            table,
            breaking: Arc::default(),
            application: Arc::default(),
            extensions: Extensions::default(),
            recorded: Arc::default(),
        }
    }

    /// Wraps a migrator of tenants' schemas.
    pub fn tenant<M: TenantMigrator + 'static>(migrator: M) -> Self {
        let (breaking, application) = (migrator.breaking().into(), migrator.application().into());
        let extensions = Extensions::new(migrator.extensions());
        Self { breaking, application, extensions, ..Self::new(migrator) }
    }

    /// With these migrations as the [breaking](Self::breaking) ones.
    #[must_use]
    pub fn with_breaking(self, names: &[&'static str]) -> Self {
        Self { breaking: names.into(), ..self }
    }

    /// Name of the application, see [`TenantMigrator::application`]; empty for a migrator that was
    /// wrapped by [`new`](Self::new).
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The migrations that programs without them cannot work with.
    #[must_use]
    pub fn breaking(&self) -> &[&'static str] {
        &self.breaking
    }

    /// The extensions that its migrations use, see [`TenantMigrator::extensions`].
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        self.extensions.all()
    }

    pub(crate) fn declared(&self) -> &Extensions {
        &self.extensions
    }

    /// The schemas of extensions in a `search_path`, each quoted and behind a comma.
    #[must_use]
    pub fn extension_path(&self) -> &str {
        self.extensions.path()
    }

    /// The `search_path` under which the migrations of a target run: its schema, those of
    /// extensions, and last, where they hide nothing, temporary tables.
    pub(crate) fn search_path(&self, target: &Target) -> String {
        format!("{}{},pg_temp", target.quoted(), self.extension_path())
    }

    /// Refuses a list of breaking migrations that protects nobody, as a name in it is misspelt.
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

    /// What a registry row has when all migrations are applied: their names, sorted, and those of
    /// the breaking ones among them.
    #[must_use]
    pub fn all_applied(&self) -> (Vec<String>, Vec<String>) {
        self.applied(self.names())
    }

    /// [`all_applied`](Self::all_applied) when these are.
    pub(crate) fn applied(&self, mut names: Vec<String>) -> (Vec<String>, Vec<String>) {
        names.sort_unstable();
        let breaking = |name: &&String| self.breaking.contains(&name.as_str());
        let breaking = names.iter().filter(breaking).cloned().collect();
        (names, breaking)
    }

    /// Records what the migrations send to a new schema, unless that was done a short time ago, so
    /// that [`create_schema`](crate::create_schema) takes one round trip. Shared by all clones.
    ///
    /// `rehearse` runs them in a scratch schema: see [`rehearse`](fn@crate::rehearse). The first
    /// time it is called twice. Since the date may be part of a statement, it is called once more
    /// in every quarter of an hour in which schemas are made: the date of every time zone changes
    /// at the beginning of one.
    ///
    /// # Errors
    /// Those of `rehearse`.
    pub async fn record<E, F>(&self, mut rehearse: impl FnMut() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Rehearsal, E>>,
    {
        let mut recorded = self.recorded.lock().await;
        if recorded.is_current() {
            return Ok(());
        }
        let first = match &recorded.last {
            Some(last) if last.0.is_ok() => Arc::clone(last),
            _ => Arc::new(rehearse().await?),
        };
        let second = Arc::new(rehearse().await?);
        let recording = match (&first.0, &second.0) {
            (Ok(first), Ok(second)) => {
                Some(Arc::new(Recording::of(&all_up(self), [first, second], false)))
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(error, "the migrations cannot be recorded");
                None
            }
        };
        *recorded = Recorded { quarter: quarter(), last: Some(second), recording };
        Ok(())
    }

    /// Whether there is a recording that [`create_schema`](crate::create_schema) uses.
    pub async fn is_recorded(&self) -> bool {
        self.recording().await.is_some()
    }

    /// The recording, unless there is none or it is too old.
    pub(crate) async fn recording(&self) -> Option<Arc<Recording>> {
        let recorded = self.recorded.lock().await;
        recorded.recording.clone().filter(|_| recorded.is_current())
    }
}

/// What the migrations have sent.
#[derive(Default)]
struct Recorded {
    /// When it was recorded, see [`quarter`].
    quarter: u64,
    last: Option<Arc<Rehearsal>>,
    recording: Option<Arc<Recording>>,
}

impl Recorded {
    fn is_current(&self) -> bool {
        self.quarter == quarter()
    }
}

/// The number of the present quarter of an hour.
fn quarter() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_secs() / (15 * 60)
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
