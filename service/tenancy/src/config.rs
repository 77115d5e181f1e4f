use std::time::Duration;

use tenantry_migrate::{DynMigrator, TenantMigrator};

use super::{
    pool::PoolOptions,
    seed::{Seed, SeedFn},
};

/// What [`Tenancy::connect`](super::Tenancy::connect) needs to know.
#[derive(Clone)]
pub struct Config {
    /// URL of the database. May hold a password: `Debug` does not show it.
    pub url: String,
    /// The migrations of a tenant's schema.
    pub migrator: DynMigrator,
    /// Put before the name of every new tenant's schema; empty for none. Lower-case letters,
    /// digits and `_`, at most 15 characters so that every slug fits.
    pub schema_prefix: String,
    /// Domain whose subdomains are tenants, such as `example.com`.
    pub base_domain: String,
    /// Most connections, each opened when it is first needed. Two more are kept: for notifications,
    /// and for looking up tenants.
    pub max_connections: u32,
    /// Percentage of the connections that one tenant may hold at a time; at least one. The same
    /// share is for creations, drops and spares together, and for look-ups in the registry.
    pub tenant_share: u32,
    /// How many connections stay free for tenants that hold none; at most half of them all. So
    /// several slow tenants together do not keep the others waiting.
    pub reserved_connections: u32,
    /// How many statements of one tenant may wait for a connection. Further ones are refused at
    /// once ([`Busy`](super::Busy)).
    pub max_waiting: u32,
    /// How many different tenants a connection serves before it is closed, since its server
    /// process caches the catalog entries of every table that it has used; 0 for any number.
    /// Should be more than the tenants that prefer the same connection.
    pub recycle_after: u32,
    /// How long a connection is kept at most.
    pub max_lifetime: Duration,
    /// How many statements each connection keeps prepared: the last used ones of those that come
    /// again and again.
    pub statement_cache: usize,
    /// How long a call waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long a statement of a tenant may take (`statement_timeout` of its sessions); `None` for
    /// any time. The server ends it after that; when its answer is five seconds late, the
    /// connection is thrown away. Rows that are read one by one count as one statement. See
    /// [`TenantTransaction::set_statement_timeout`](super::TenantTransaction::set_statement_timeout).
    pub statement_timeout: Option<Duration>,
    /// How long a transaction may wait for its next statement, so that a process that is paused or
    /// unreachable holds no locks; `None` for any time. The server ends the connection after that.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long a resolved tenant is used without asking the registry again. Changes are announced
    /// between processes at once; this bounds what a change that was not announced can do. While
    /// announcements are not received, it is a second at most.
    pub cache_ttl: Duration,
    /// How many schemas are made ahead, so that a new tenant only has to take one; 0 for none. All
    /// processes together keep the largest number that one of them is given.
    pub spares: u32,
    /// Who works here, such as the name of a user or a program: the registry keeps it as who dropped
    /// a tenant.
    pub actor: String,
    /// What is put into every new tenant, see [`Config::seed`].
    pub seed: Option<Seed>,
}

impl Config {
    /// A configuration with the usual values: no prefix, base domain `localhost`, 10 connections
    /// of which one tenant holds 7 at most, 5 seconds to get one, 25 seconds for a statement, 30
    /// seconds for a transaction's next one, tenants believed for 30 seconds, no spares, no seed;
    /// the actor is the name of the program.
    pub fn new<M: TenantMigrator + 'static>(url: impl Into<String>, tenant_migrator: M) -> Self {
        Self {
            url: url.into(),
            migrator: DynMigrator::tenant(tenant_migrator),
            schema_prefix: String::new(),
            base_domain: "localhost".to_owned(),
            max_connections: 10,
            tenant_share: 75,
            reserved_connections: 2,
            max_waiting: 200,
            recycle_after: 2000,
            max_lifetime: Duration::from_secs(30 * 60),
            statement_cache: 1000,
            acquire_timeout: Duration::from_secs(5),
            // With the five seconds for a late answer, as long as a request has.
            statement_timeout: Some(Duration::from_secs(25)),
            idle_in_transaction_timeout: Some(Duration::from_secs(30)),
            cache_ttl: Duration::from_secs(30),
            spares: 0,
            actor: program(),
            seed: None,
        }
    }

    /// Has `seed` called for every new tenant, in the transaction that creates it: what it stores
    /// is there as soon as the tenant is. If it fails, the tenant is not created
    /// ([`Error::Seed`](super::Error::Seed)).
    ///
    /// ```
    /// use sea_orm::{ConnectionTrait, DbErr, sea_query::Query};
    /// use tenantry::{Config, TenantTransaction};
    /// use tenantry_migrate::TenantMigrator;
    ///
    /// async fn first_guard(tenant: &TenantTransaction) -> Result<(), DbErr> {
    ///     let name = format!("Guard of {}", tenant.slug());
    ///     let mut insert = Query::insert();
    ///     insert.into_table(("@tenant", "guards")).columns(["name"]).values_panic([name.into()]);
    ///     tenant.execute(&insert).await.map(drop)
    /// }
    ///
    /// fn config(migrator: impl TenantMigrator + 'static) -> Config {
    ///     Config::new("postgres://…", migrator).seed(first_guard)
    /// }
    /// ```
    #[must_use]
    pub fn seed(mut self, seed: impl for<'a> SeedFn<'a> + 'static) -> Self {
        self.seed = Some(Seed::new(seed));
        self
    }
}

impl From<&Config> for PoolOptions {
    fn from(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections.max(1) as usize,
            tenant_share: config.tenant_share as usize,
            reserved_connections: config.reserved_connections as usize,
            max_waiting: config.max_waiting as usize,
            recycle_after: config.recycle_after as usize,
            max_lifetime: config.max_lifetime,
            statement_cache: config.statement_cache,
            acquire_timeout: config.acquire_timeout,
            statement_timeout: config.statement_timeout,
            idle_in_transaction_timeout: config.idle_in_transaction_timeout,
            extensions: config.migrator.extension_path().into(),
        }
    }
}

/// The name of the file that runs.
fn program() -> String {
    let file = std::env::current_exe().ok();
    let name = file.as_deref().and_then(std::path::Path::file_name);
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "unknown".to_owned())
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("schema_prefix", &self.schema_prefix)
            .field("base_domain", &self.base_domain)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
