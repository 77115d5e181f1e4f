//! Tenants: resolving one on each call, working in its schema, making and dropping it.
//!
//! Knows nothing of an application's tables: what a tenant's schema holds is up to the migrator in
//! [`Config`].

mod access;
mod announce;
mod cache;
mod config;
mod domains;
mod drop;
mod epoch;
mod error;
mod fitness;
mod handle;
mod host;
mod lanes;
mod lifecycle;
mod lookup;
mod metadata;
mod naming;
mod near;
mod precheck;
mod record;
mod resend;
mod scope;
mod scoped;
mod second_look;
mod seed;
mod shared;
mod spares;

use std::sync::Arc;

use entity::registry::{Hostname, SchemaName};
use migration::{AnyMigrator, Target, claim_application, registry};
use sea_orm::DatabaseConnection;
use tokio::task::JoinHandle;

pub use access::{Access, Refused};
pub use config::Config;
pub use error::Error;
pub use handle::{Scope, Tenant, TenantTransaction};
pub use host::Host;
pub use record::{NewTenant, TenantRecord};
pub use scope::TenantScope;
pub use scoped::{Scoped, WrongTenant};
pub use seed::{Seed, SeedFn};

use cache::TenantCache;
use fitness::Build;
use lanes::{Lane, Lanes, Writes};
use second_look::Looker;
use spares::Spares;

/// All tenants of one database. Cheap to clone.
#[derive(Clone)]
pub struct Tenancy {
    inner: Arc<Inner>,
}

struct Inner {
    /// For the registry.
    db: Lane,
    lanes: Arc<Lanes>,
    migrator: AnyMigrator,
    schema_prefix: String,
    base_domain: String,
    actor: String,
    cache: Arc<TenantCache>,
    seed: Option<Seed>,
    spares: Arc<Spares>,
    /// The tasks that hear of changes, look after connections, and keep spares.
    tasks: Vec<JoinHandle<()>>,
}

impl Tenancy {
    /// Connects to the database and starts to listen for changes that other processes make.
    ///
    /// # Errors
    /// [`Error::Name`] when the prefix cannot begin a schema name or the base domain is none,
    /// [`Error::Migration`] when a migration is said to be breaking that is none, or the registry
    /// belongs to [another application](migration::TenantMigrator::application),
    /// [`Error::Connect`] when the server cannot be reached, [`Error::ReadOnlyServer`] when it
    /// accepts no writes, [`Error::RegistryBehind`] when the
    /// registry has not been migrated, [`Error::NoAnnouncements`] when a pooler is in the way.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        check_prefix(&config.schema_prefix)?;
        let base_domain = base_domain(&config.base_domain)?;
        config.migrator.confirm_breaking()?;
        let lanes = Lanes::connect(config).await?;
        let db = lanes.registry();
        let looker = Arc::new(Looker::new(&lanes, Build::new(&config.migrator)));
        let cache = Arc::new(TenantCache::new(config.cache_ttl, looker));
        let mut listener = announce::subscribe(&lanes).await.map_err(|error| {
            Error::Database(sea_orm::DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())))
        })?;
        if !announce::arrive(&mut listener, &db).await? {
            return Err(Error::NoAnnouncements);
        }
        let watch =
            announce::watch(listener, Arc::clone(&lanes), Arc::clone(&cache), config.cache_ttl);
        let mut tasks = vec![tokio::spawn(watch), tokio::spawn(Arc::clone(&lanes).keep())];
        let (migrator, prefix) = (config.migrator.clone(), config.schema_prefix.clone());
        let spares = Spares::new(config.spares, db.clone(), migrator.clone(), prefix);
        let spares = Arc::new(spares);
        if config.spares > 0 {
            tasks.push(tokio::spawn(Arc::clone(&spares).keep()));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                lanes,
                migrator,
                schema_prefix: config.schema_prefix.clone(),
                base_domain,
                actor: config.actor.clone(),
                cache,
                seed: config.seed.clone(),
                spares,
                tasks,
            }),
        })
    }

    /// Asks the server whether it is there and accepts writes.
    ///
    /// # Errors
    /// [`Error::Database`] when it does not answer, [`Error::ReadOnlyServer`] when it accepts no
    /// writes.
    pub async fn ping(&self) -> Result<(), Error> {
        match self.inner.db.writes().await? {
            Writes::Accepted => Ok(()),
            other => Err(Error::ReadOnlyServer { standby: other == Writes::Standby }),
        }
    }

    /// Closes every connection, after the statements that are under way.
    pub async fn close(&self) {
        let tasks = &self.inner.tasks;
        tasks.iter().for_each(JoinHandle::abort);
        // Waited for, as they use the pool.
        while !tasks.iter().all(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        self.inner.lanes.close().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenancy").finish_non_exhaustive()
    }
}

/// The longest slug must fit behind the prefix, and the whole must be a schema name.
fn check_prefix(prefix: &str) -> Result<(), Error> {
    let longest = "a".repeat(entity::registry::Slug::MAX_LEN);
    format!("{prefix}{longest}").parse::<SchemaName>()?;
    Ok(())
}

/// The domain as [`Host::parse`] compares it. Subdomains of it must be host names.
fn base_domain(text: &str) -> Result<String, Error> {
    let below: Hostname = format!("tenant.{text}").parse()?;
    Ok(below.as_str()["tenant.".len()..].to_owned())
}

async fn check_registry(db: &DatabaseConnection, tenants: &AnyMigrator) -> Result<(), Error> {
    let migrator = AnyMigrator::new(registry::Migrator);
    let pending = match migration::state(db, &Target::Registry, &migrator).await {
        Ok(state) => state.pending.len(),
        Err(migration::Error::MissingRegistry) => migrator.names().len(),
        Err(error) => return Err(error.into()),
    };
    if pending > 0 {
        return Err(Error::RegistryBehind { pending });
    }
    Ok(claim_application(db, tenants).await?)
}
