//! Schema-per-tenant for SeaORM and PostgreSQL: a handle that sends every ORM call to the tenant's
//! schema, atomic provisioning, and the tenant's lifecycle.
//!
//! Entities name the schema `@tenant`, which never exists. A [`Tenant`] puts the tenant's schema in
//! its place, in one round trip for each call; without a tenant PostgreSQL refuses the statement.
//!
//! ```no_run
//! use sea_orm::EntityTrait;
//! use tenantry::{Config, NewTenant, Tenancy};
//!
//! # async fn example<Guard: EntityTrait>(
//! #     url: &str,
//! #     migrator: impl tenantry_migrate::TenantMigrator + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let tenancy = Tenancy::connect(&Config::new(url, migrator)).await?;
//! tenancy.create(NewTenant::new("acme".parse()?)).await?;
//! let tenant = tenancy.tenant(&"acme".parse()?).await?;
//! let guards = Guard::find().all(&tenant).await?;
//! # Ok(()) }
//! ```
//!
//! | item | purpose |
//! |---|---|
//! | [`Tenancy`], [`Config`] | all tenants of one database: resolving, creating, dropping, domains, limits |
//! | [`Tenant`], [`TenantTransaction`], [`TenantScope`] | where the statements of one tenant are sent |
//! | [`Seed`] | the first rows of a new tenant |
//! | [`page`] | keyset pagination |
//! | [`Error`], [`TenantUnavailable`], [`Busy`], [`Misuse`] | errors |

mod availability;
mod busy;
mod cache;
mod compatibility;
mod config;
mod create_with_commits;
mod domains;
mod drop;
mod error;
mod explain;
mod freshness;
mod handle;
mod host;
mod input;
mod lifecycle;
mod limits;
mod listener;
mod marker;
mod metadata;
mod naming;
mod other_schema;
pub mod page;
mod placeholders;
mod pool;
mod recheck;
mod recording;
mod registry_reader;
mod registry_view;
mod resolve;
mod retry;
mod schemas;
mod scope;
mod seed;
mod spares;
mod statement;
mod statement_epoch;
mod tenant_bound;
mod tenant_info;
mod tenant_state;
#[cfg(test)]
mod test_migrator;
mod validate;

use std::sync::{Arc, atomic::AtomicBool};

use sea_orm::DatabaseConnection;
use tenantry_migrate::{DynMigrator, Target, claim_application, confirm_extensions, registry};
use tenantry_registry::SchemaName;
use tokio::task::JoinHandle;

pub use availability::{Availability, TenantUnavailable};
pub use busy::Busy;
pub use config::Config;
pub use error::Error;
pub use explain::explain;
pub use handle::{Tenant, TenantConnection, TenantTransaction};
pub use host::Host;
pub use input::Input;
pub use limits::Limits;
pub use other_schema::OtherSchema;
pub use placeholders::{assert_placeholder, without_placeholder};
pub use scope::TenantScope;
pub use seed::{Seed, SeedFn};
pub use statement::Misuse;
pub use tenant_bound::{TenantBound, WrongTenant};
pub use tenant_info::{NewTenant, TenantInfo};
pub use tenantry_migrate::{DbErrorKind, connect::Cause, describe};
pub use tenantry_registry::{DisplayName, Hostname, NameError, Slug, Tag, TenantId};

use cache::TenantCache;
use compatibility::KnownMigrations;
use listener::Listener;
use pool::{Lane, Lanes, Writes};
use registry_view::RegistryView;
use spares::Spares;

/// All tenants of one database. Cheap to clone.
#[derive(Clone)]
pub struct Tenancy {
    inner: Arc<Inner>,
}

struct Inner {
    /// For look-ups in the registry.
    db: Lane,
    /// For creations, drops and spares.
    lifecycle: Lane,
    lanes: Arc<Lanes>,
    migrator: DynMigrator,
    schema_prefix: String,
    base_domain: String,
    actor: String,
    cache: TenantCache,
    seed: Option<Seed>,
    spares: Arc<Spares>,
    /// Whether PostgreSQL wants a commit between two migrations of a new tenant.
    with_commits: AtomicBool,
    view: Arc<RegistryView>,
    /// The tasks that look after connections, and keep spares.
    tasks: Vec<JoinHandle<()>>,
    /// The tasks that receive announcements and ask the registry. They end with the last handle of
    /// a tenant, or when the tenancy is closed.
    view_tasks: [JoinHandle<()>; 3],
}

impl Tenancy {
    /// Connects to the database and starts to listen for changes that other processes make.
    ///
    /// # Errors
    /// [`Error::Name`] when the prefix cannot begin a schema name or the base domain is none,
    /// [`Error::Migration`] when a migration is said to be breaking that is none, or the registry
    /// belongs to [another application](tenantry_migrate::TenantMigrator::application)
    /// or has breaking migrations of a newer program, or one of the
    /// migrator's [extensions](tenantry_migrate::TenantMigrator::extensions) is not in its schema or shares
    /// it with tables,
    /// [`Error::Connect`] when the server cannot be reached, [`Error::ReadOnlyServer`] when it
    /// accepts no writes, [`Error::RegistryBehind`] when the
    /// registry has not been migrated, [`Error::NoAnnouncements`] when a pooler is in the way.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        check_prefix(&config.schema_prefix)?;
        let base_domain = base_domain(&config.base_domain)?;
        config.migrator.validate_breaking()?;
        let lanes = Lanes::connect(config).await?;
        let (db, lifecycle) = (lanes.registry(), lanes.lifecycle());
        let known = KnownMigrations::new(&config.migrator);
        let (view, requests) = RegistryView::new(known, config.cache_ttl, config.acquire_timeout);
        let cache = TenantCache::new(config.cache_ttl, Arc::clone(&view));
        let reader = tokio::spawn(registry_reader::run(requests, lanes.options().clone()));
        let mut listener = Listener::connect(&lanes, &view).await.map_err(|error| {
            Error::Database(sea_orm::DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())))
        })?;
        if !listener.is_receiving(&view).await {
            // Nothing was announced if there is no connection to do so.
            lanes.try_opening().await?;
            return Err(Error::NoAnnouncements);
        }
        // After announcements are received, so that none is missed.
        view.schemas.load(&db).await?;
        let clock = tokio::spawn(listener::watch_clock(Arc::downgrade(&view)));
        let view_tasks = [tokio::spawn(listener.run()), reader, clock];
        let mut tasks = vec![tokio::spawn(Arc::clone(&lanes).keep())];
        let (migrator, prefix) = (config.migrator.clone(), config.schema_prefix.clone());
        let spares = Spares::new(config.spares, lifecycle.clone(), migrator.clone(), prefix);
        let spares = Arc::new(spares);
        if config.spares > 0 {
            tasks.push(tokio::spawn(Arc::clone(&spares).keep()));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                lifecycle,
                lanes,
                migrator,
                schema_prefix: config.schema_prefix.clone(),
                base_domain,
                actor: config.actor.clone(),
                cache,
                seed: config.seed.clone(),
                spares,
                with_commits: AtomicBool::new(false),
                view,
                tasks,
                view_tasks,
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

    /// Whether the process receives announcements of changes. While it does not, it connects again,
    /// and what it has cached about tenants is checked against the registry every second.
    #[must_use]
    pub fn is_receiving_announcements(&self) -> bool {
        self.inner.view.freshness.is_connected()
    }

    /// Closes every connection, after the statements that are under way.
    pub async fn close(&self) {
        let tasks = || self.inner.tasks.iter().chain(&self.inner.view_tasks);
        tasks().for_each(JoinHandle::abort);
        // Waited for, as they use connections.
        while !tasks().all(JoinHandle::is_finished) {
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
    let longest = "a".repeat(tenantry_registry::Slug::MAX_LEN);
    format!("{prefix}{longest}").parse::<SchemaName>()?;
    Ok(())
}

/// The domain as [`Host::parse`] compares it. Subdomains of it must be host names.
fn base_domain(text: &str) -> Result<String, Error> {
    let below: Hostname = format!("tenant.{text}").parse()?;
    Ok(below.as_str()["tenant.".len()..].to_owned())
}

async fn check_registry(db: &DatabaseConnection, tenants: &DynMigrator) -> Result<(), Error> {
    let migrator = registry::migrator();
    let pending = match tenantry_migrate::state(db, &Target::Registry, &migrator).await {
        Ok(state) => state.pending.len(),
        Err(tenantry_migrate::Error::MissingRegistry) => migrator.names().len(),
        Err(error) => return Err(error.into()),
    };
    if pending > 0 {
        return Err(Error::RegistryBehind { pending });
    }
    claim_application(db, tenants).await?;
    Ok(confirm_extensions(db, tenants).await?)
}
