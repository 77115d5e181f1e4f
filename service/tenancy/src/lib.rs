//! Schema-per-tenant for SeaORM and PostgreSQL: a handle that sends every ORM call to the tenant's
//! schema, atomic provisioning, and the tenant's lifecycle.
//!
//! Entities name the schema `@tenant`, which never exists. A [`Tenant`] replaces it by the tenant's
//! schema, in one round trip for each call; without a tenant PostgreSQL refuses the statement.
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
//! | [`AdoptOptions`] | tenants of schemas that exist already |
//! | [`Transition`], [`InvalidTransition`] | suspending, archiving and purging tenants |
//! | [`RenameOptions`], [`Alias`] | renaming tenants, and their earlier slugs |
//! | [`Actor`], [`AuditEntry`], [`Event`] | who changed what: the audit log, and the stream of changes |
//! | [`Diagnosis`] | what is half done or stray |
//! | [`Tenant`], [`TenantTransaction`], [`TenantScope`] | connections and transactions of one tenant |
//! | [`NewTenant`], [`TenantUpdate`], [`TenantInfo`], [`Metadata`] | a tenant's entry in the registry |
//! | [`NewApiKey`], [`ApiKeyInfo`], [`KeyCheck`] | API keys of tenants and operators |
//! | [`TenantBound`], [`ForEachSummary`], [`TenantRow`] | values of a tenant elsewhere; work in all tenants |
//! | [`Shared`], [`SharedTransaction`] | connections and transactions for shared tables, which exist once |
//! | [`Exported`], [`Imported`], [`TransferError`] | copies of one tenant: export, import, clone |
//! | [`NodeInfo`], [`PlacedTenant`], [`Moved`], [`NodeError`] | nodes of a Citus cluster: where tenants are, and moving them |
//! | [`Seed`] | the first rows of a new tenant |
//! | [`page`] | keyset pagination |
//! | [`ServingRole`] | the role of the connections, and the rights that it should not have |
//! | [`Error`], [`TenantUnavailable`], [`ReadOnlyTenant`], [`Busy`], [`Misuse`], [`OwnerError`], [`PoolerError`] | errors |

mod adopt;
mod aliases;
mod all_tenants;
mod api_keys;
mod audit;
mod availability;
mod busy;
mod cache;
mod cold_statements;
mod compatibility;
mod config;
mod connection;
mod create_with_commits;
mod doctor;
mod domains;
mod drop;
mod error;
mod explain;
mod for_each;
mod freshness;
mod handle;
mod hex;
mod host;
mod http_settings;
mod input;
mod lifecycle;
mod limits;
mod listener;
mod locked_row;
mod marker;
mod metadata;
mod migrate_all;
mod naming;
mod nodes;
mod other_schema;
mod owner;
pub mod page;
mod placeholders;
mod plan_cache_mode;
mod pool;
#[cfg(feature = "metrics")]
mod pool_metrics;
mod pool_stats;
mod pooler;
mod query_all;
mod read_only;
mod recheck;
mod recording;
mod registry_reader;
mod registry_view;
mod rename;
mod resolve;
mod retry;
mod schemas;
mod scope;
mod sea_orm_methods;
mod seed;
mod serving_role;
mod settings;
mod shared;
mod spares;
mod startup;
mod statement;
mod statement_epoch;
mod stored_metadata;
mod tenant_bound;
mod tenant_info;
mod tenant_state;
mod tenant_update;
#[cfg(test)]
mod test_migrator;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;
mod transitions;
mod validate;

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use tenantry_migrate::DynMigrator;
use tokio::task::JoinSet;
use tracing::warn;

pub use adopt::{AdoptOptions, AdoptSource, Adopted};
pub use aliases::Alias;
pub use api_keys::{ApiKeyInfo, CreatedApiKey, KeyCheck, KeyOwner, NewApiKey, VerifiedKey};
pub use audit::{Actor, AuditEntry, AuditFilter, Event, EventPosition};
pub use availability::{Availability, TenantUnavailable};
pub use busy::Busy;
pub use cold_statements::ColdStatements;
pub use config::Config;
pub use connection::BoundConnection;
pub use doctor::{Diagnosis, DoctorOptions, Finding, FindingKind, Fixed, Remedy};
pub use error::Error;
pub use explain::explain;
pub use for_each::{ForEachSummary, TenantFailure, WorkError};
pub use handle::{Tenant, TenantConnection, TenantTransaction};
pub use host::Host;
pub use http_settings::HttpSettings;
pub use input::Input;
pub use limits::Limits;
pub use metadata::{Metadata, MetadataError};
pub use nodes::{MoveProgress, Moved, NodeError, NodeInfo, PlacedTenant};
pub use other_schema::OtherSchema;
pub use owner::OwnerError;
pub use placeholders::{assert_placeholder, without_placeholder};
pub use plan_cache_mode::PlanCacheMode;
pub use pool_stats::{PoolStats, TenantPoolStats};
pub use pooler::PoolerError;
pub use query_all::TenantRow;
pub use read_only::ReadOnlyTenant;
pub use rename::RenameOptions;
pub use scope::TenantScope;
pub use seed::{Seed, SeedFn};
pub use serving_role::{ExcessRight, ServingRole};
pub use shared::{Shared, SharedConnection, SharedTransaction};
pub use statement::Misuse;
pub use tenant_bound::{TenantBound, WrongTenant};
pub use tenant_info::{NewTenant, TenantInfo};
pub use tenant_update::TenantUpdate;
pub use tenantry_migrate::{
    DbErrorKind, NodeAddress,
    adopt::{AdoptError, Framework, ListedTenant, TenantList},
    connect::Cause,
    describe,
};
pub use tenantry_registry::{
    DisplayName, Hostname, NameError, Origin, Reason, SchemaName, Scope, Scopes, Slug, Tag,
    TenantId, UnknownScope, audit::Action,
};
pub use transfer::{
    CloneOptions, ExportOptions, Exported, ImportOptions, Imported, OnProgress, TransferError,
    TransferProgress,
};
pub use transitions::{DEFAULT_GRACE, InvalidTransition, Transition};

#[cfg(fuzzing)]
#[doc(hidden)]
pub use {api_keys::fuzz_key, transfer::fuzz_manifest};

use api_keys::KeyCache;
use cache::TenantCache;
use compatibility::KnownMigrations;
use listener::Listener;
use pool::{PoolHandle, TenantPool, WriteAccess};
use registry_view::RegistryView;
use spares::Spares;
use startup::{Pools, open_pools};
use transfer::Transfers;

/// All tenants of one database. Cheap to clone.
#[derive(Clone)]
pub struct Tenancy {
    inner: Arc<Inner>,
    actor: Arc<Actor>,
}

struct Inner {
    /// For queries of the registry.
    db: PoolHandle,
    /// For changes of tenants, their creations and drops.
    lifecycle: PoolHandle,
    role: ServingRole,
    /// For tenants and shared tables.
    pool: Arc<TenantPool>,
    /// For everything else, if those go through a pooler.
    direct: Option<Arc<TenantPool>>,
    migrator: DynMigrator,
    schema_prefix: String,
    base_domain: String,
    audit_retention: Option<Duration>,
    reveal_unavailable: bool,
    cache: Arc<TenantCache>,
    keys: KeyCache,
    shared: Shared,
    seed: Option<Seed>,
    spares: Arc<Spares>,
    /// Whether PostgreSQL requires a commit between two migrations of a new tenant.
    with_commits: AtomicBool,
    view: Arc<RegistryView>,
    /// The tasks that check idle connections, make spares and record the uses of keys.
    /// The tasks that check idle connections, make spares and delete old audit entries.
    tasks: Mutex<JoinSet<()>>,
    transfers: Transfers,
    /// The tasks that receive notifications and query the registry. They end with the last handle
    /// of a tenant, or when the tenancy is closed.
    view_tasks: Mutex<JoinSet<()>>,
}

impl Tenancy {
    /// Connects to the database and starts to listen for changes that other processes make.
    ///
    /// # Errors
    /// - [`Error::Name`] if the prefix or the base domain is not valid;
    /// - [`Error::Migration`] if `breaking()` of the migrator lists an unknown migration, if the
    ///   registry belongs to [another application](tenantry_migrate::TenantMigrator::application)
    ///   or has breaking migrations of a newer program, or if one of the migrator's
    ///   [extensions](tenantry_migrate::TenantMigrator::extensions) is not in its schema or shares
    ///   it with tables;
    /// - [`Error::Connect`] if the server cannot be reached;
    /// - [`Error::ReadOnlyServer`] if it accepts no writes;
    /// - [`Error::RegistryBehind`] if the registry has not been migrated, [`Error::SharedBehind`] if
    ///   the [shared tables](tenantry_migrate::TenantMigrator::shared) have not;
    /// - [`Error::NoNotifications`] if `LISTEN` and `NOTIFY` do not work through a pooler;
    /// - [`Error::Pooler`] if tenants' statements cannot go through the pooler
    ///   ([`Config::direct_url`]).
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        Config::check_schema_prefix(&config.schema_prefix)?;
        let base_domain = Config::check_base_domain(&config.base_domain)?;
        config.migrator.validate_breaking()?;
        let pools = open_pools(config).await?;
        let registry = Arc::clone(pools.registry());
        let Pools { tenants: pool, direct, role } = pools;
        let (db, lifecycle) = (registry.registry(), registry.lifecycle());
        let known = KnownMigrations::new(&config.migrator);
        let (view, requests) = RegistryView::new(known, config.cache_ttl, config.acquire_timeout);
        let cache = Arc::new(TenantCache::new(config.cache_ttl, Arc::clone(&view)));
        let mut view_tasks = JoinSet::new();
        view_tasks
            .spawn(registry_reader::run(requests, registry.session_options().for_background()));
        let mut listener = Listener::connect(&registry, &view).await.map_err(|error| {
            Error::Database(sea_orm::DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())))
        })?;
        if !listener.is_receiving(&view).await {
            // Reports the reason if the server accepts no further connection.
            registry.test_connect().await?;
            return Err(Error::NoNotifications);
        }
        // After notifications are received, so that no schema is missed.
        view.schemas.load(&db).await?;
        view_tasks.spawn(listener::watch_clock(Arc::downgrade(&view)));
        view_tasks.spawn(listener.run());
        let shared = Shared { db: pool.shared(), state: Arc::new(cache.shared()) };
        let mut tasks = JoinSet::new();
        for pool in [Some(&pool), direct.as_ref(), registry.owner().pool()].into_iter().flatten() {
            tasks.spawn(Arc::clone(pool).run_idle_check());
        }
        let (background, events) = api_keys::Background::new(db.clone());
        tasks.spawn(background.run());
        let keys = KeyCache::new(config.cache_ttl, Arc::clone(&view), events);
        #[cfg(feature = "metrics")]
        tasks.spawn(pool_metrics::publish(Arc::clone(&pool), Arc::clone(&cache)));
        let (migrator, prefix) = (config.migrator.clone(), config.schema_prefix.clone());
        let spares = Spares::new(config.spares, lifecycle.clone(), migrator.clone(), prefix);
        let spares = Arc::new(spares);
        tasks.spawn(audit::retention::run(db.clone(), config.audit_retention));
        if config.spares > 0 && !registry.owner().is_available() {
            warn!(role = role.name, "no spares are created: the role may not create schemas");
        } else if config.spares > 0 {
            tasks.spawn(Arc::clone(&spares).maintain());
        }
        Ok(Self {
            actor: Arc::new(Actor::new(config.actor.clone()).printable()),
            inner: Arc::new(Inner {
                db,
                transfers: Transfers::new(&lifecycle),
                lifecycle,
                role,
                pool,
                direct,
                migrator,
                schema_prefix: config.schema_prefix.clone(),
                base_domain,
                audit_retention: config.audit_retention,
                reveal_unavailable: config.reveal_unavailable,
                cache,
                keys,
                shared,
                seed: config.seed.clone(),
                spares,
                with_commits: AtomicBool::new(false),
                view,
                tasks: Mutex::new(tasks),
                view_tasks: Mutex::new(view_tasks),
            }),
        })
    }

    /// The connection to shared tables, which exist once, see
    /// [`TenantMigrator::shared`](tenantry_migrate::TenantMigrator::shared). Also without such a
    /// migrator, for tables that something else has created in schemas that belong to no tenant.
    #[must_use]
    pub fn shared(&self) -> Shared {
        self.inner.shared.clone()
    }

    /// Asks the server whether it accepts writes.
    ///
    /// # Errors
    /// [`Error::Database`] if it does not answer, [`Error::ReadOnlyServer`] if it accepts no writes.
    pub async fn ping(&self) -> Result<(), Error> {
        require_writes(self.inner.db.write_access().await?)?;
        match self.inner.direct {
            // Requests need the pooler as well.
            Some(_) => require_writes(self.inner.pool.registry().write_access().await?),
            None => Ok(()),
        }
    }

    /// Whether the process receives notifications of changes. While it does not, it reconnects, and
    /// checks cached tenants against the registry every second.
    #[must_use]
    pub fn is_receiving_notifications(&self) -> bool {
        self.inner.view.freshness.is_connected()
    }

    /// Closes every connection, after the statements in progress.
    pub async fn close(&self) {
        for tasks in [&self.inner.tasks, &self.inner.view_tasks] {
            let mut tasks =
                std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
            // Before the pool is closed, since they use its connections.
            tasks.shutdown().await;
        }
        self.inner.pool.close().await;
        if let Some(direct) = &self.inner.direct {
            direct.close().await;
        }
        // Streams of events end.
        self.inner.view.entries_changed.send_replace(());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.view_tasks.get_mut().unwrap_or_else(PoisonError::into_inner).detach_all();
    }
}

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenancy").finish_non_exhaustive()
    }
}

fn require_writes(writes: WriteAccess) -> Result<(), Error> {
    match writes {
        WriteAccess::Allowed => Ok(()),
        other => Err(Error::ReadOnlyServer { standby: other == WriteAccess::Standby }),
    }
}
