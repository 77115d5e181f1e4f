use std::time::Duration;

use tenantry_migrate::{DynMigrator, SharedMigrator, TenantMigrator};

use super::{
    pool::PoolOptions,
    seed::{Seed, SeedFn},
};

/// Configuration of [`Tenancy::connect`](super::Tenancy::connect).
#[derive(Clone)]
pub struct Config {
    /// URL of the database. `Debug` does not show it, as it may contain a password.
    pub url: String,
    /// The migrations of a tenant's schema.
    pub migrator: DynMigrator,
    /// Prefix of the schema names of new tenants; may be empty. Lower-case letters, digits and `_`,
    /// at most 15 characters, so that every slug fits.
    pub schema_prefix: String,
    /// Domain whose subdomains are the slugs of tenants, such as `example.com`.
    pub base_domain: String,
    /// Maximum number of connections, each opened when it is first needed. Two more are used for
    /// notifications and for resolving tenants.
    pub max_connections: u32,
    /// Percentage of the connections that one tenant may hold at a time; at least one connection.
    /// The same share applies to creations, drops and spares together, and to queries of the
    /// registry.
    pub tenant_share: u32,
    /// Number of connections that stay free for tenants that hold none; at most half of all. Keeps
    /// several slow tenants from blocking the others.
    pub reserved_connections: u32,
    /// Maximum number of statements of one tenant that wait for a connection. Further ones are
    /// refused at once ([`Busy`](super::Busy)).
    pub max_waiting: u32,
    /// Number of different tenants that a connection serves before it is replaced, because its
    /// server process caches the catalog entries of every table that it has used; 0 for no limit.
    /// Should be larger than the number of tenants that prefer the same connection.
    pub recycle_after: u32,
    /// Maximum lifetime of a connection.
    pub max_lifetime: Duration,
    /// Number of statements that each connection keeps prepared: the most recently used ones of
    /// those that recur.
    pub statement_cache: usize,
    /// How long a statement waits for a connection.
    pub acquire_timeout: Duration,
    /// Timeout of a tenant's statement (`statement_timeout` of its session); `None` for no timeout.
    /// The server cancels the statement; if its answer is overdue by five seconds, the connection
    /// is closed. A stream of rows is one statement. See
    /// [`TenantTransaction::set_statement_timeout`](super::TenantTransaction::set_statement_timeout).
    pub statement_timeout: Option<Duration>,
    /// How long a transaction may wait for its next statement before the server closes its
    /// connection, so that a process that is paused or unreachable does not keep locks; `None` for
    /// no timeout.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long a resolved tenant is cached. Processes notify each other of changes at once; this
    /// bounds the effect of a change without a notification. While notifications are not received,
    /// entries are used for at most a second.
    pub cache_ttl: Duration,
    /// Number of schemas that are created in advance, so that a new tenant only has to take one; 0
    /// for none. All processes together keep the largest number that one of them is configured
    /// with.
    pub spares: u32,
    /// Name of the user or program that the registry records when a tenant is dropped.
    pub actor: String,
    /// Inserts the first rows of every new tenant, see [`Config::seed`].
    pub seed: Option<Seed>,
}

impl Config {
    /// A configuration with default values: no prefix, base domain `localhost`, 10 connections of
    /// which one tenant holds at most 7, and timeouts of 5 seconds for a connection, 25 seconds for
    /// a statement and 30 seconds for an idle transaction. Tenants are cached for 30 seconds, and
    /// the actor is the name of the program. Without spares and seed.
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
            // With five seconds for an overdue answer, the timeout of a request.
            statement_timeout: Some(Duration::from_secs(25)),
            idle_in_transaction_timeout: Some(Duration::from_secs(30)),
            cache_ttl: Duration::from_secs(30),
            spares: 0,
            actor: program(),
            seed: None,
        }
    }

    /// Sets the migrations of shared tables, which exist once, in place of
    /// [`TenantMigrator::shared`]. The `migration` command does not know them: prefer the method of
    /// the migrator, unless this program migrates by itself.
    #[must_use]
    pub fn shared_migrator(mut self, shared: SharedMigrator) -> Self {
        self.migrator = self.migrator.with_shared(shared);
        self
    }

    /// Sets a function that inserts the first rows of every new tenant, in the transaction that
    /// creates it. If it fails, the tenant is not created ([`Error::Seed`](super::Error::Seed)).
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

/// The name of the executable.
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
