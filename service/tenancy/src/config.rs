use std::time::Duration;

use sea_orm::ConnectOptions;
use tenantry_migrate::{DynMigrator, SharedMigrator, TenantMigrator};
use tenantry_registry::{Hostname, NameError, SchemaName, Slug};

use super::{
    PlanCacheMode,
    cold_statements::ColdStatements,
    pool::{PoolOptions, fitting_statements},
    seed::{Seed, SeedFn},
};

/// Number of statements that connections to a pooler keep prepared.
const POOLED_STATEMENTS: usize = 1000;

/// Configuration of [`Tenancy::connect`](super::Tenancy::connect).
///
/// # SeaORM's connection options
///
/// [`Config::new`] takes a URL or SeaORM's [`ConnectOptions`], and [`connect_options`] keeps them:
///
/// | option | what becomes of it |
/// |---|---|
/// | URL, `set_application_name` | used for every connection |
/// | `map_sqlx_postgres_opts` (TLS certificates, `options`, …) | run once, used for every connection; [`statement_cache`] overrides the capacity that it sets |
/// | `sqlx_logging`, `sqlx_logging_level`, `sqlx_slow_statements_logging_settings` | used for every statement; heartbeats and lookups in the registry are logged at `DEBUG` or below |
/// | `after_connect` | run once on every connection except the one that listens, before the settings of this `Config`; refused with a [direct URL](Config::direct_url) |
/// | `max_connections`, `acquire_timeout` or `connect_timeout`, `max_lifetime`, `statement_timeout` | [`Config::new`] copies them to the fields of the same name, which decide from then on |
/// | `min_connections`, `connect_lazy` | not used: connections are opened when they are needed |
/// | `idle_timeout`, `test_before_acquire`, `test_before_acquire_if_idle_for` | not used: idle connections are pinged every 30 seconds and closed after ten minutes |
/// | `map_sqlx_postgres_pool_opts`, `map_sqlx_postgres_before_acquire` | not used: the connections are not in a pool of sqlx |
/// | `set_schema_search_path` | not used: the `search_path` of a session has no schema with tables |
/// | `record_stmt_in_spans` | not used: there are no spans of SeaORM's |
///
/// The settings of a session that this crate needs (`search_path`, `standard_conforming_strings`,
/// the two timeouts, and those by which the server notices a lost client) override the same in
/// `options` and in `after_connect`. A session that a statement may have changed is reset before
/// another tenant gets it; if `after_connect` has sent statements, whose effect the reset would
/// undo, the connection is replaced instead. `statement_timeout` of `ConnectOptions` is also sent
/// when a connection is opened, which PgBouncer refuses: behind one, set the field of `Config`.
///
/// ```
/// use std::time::Duration;
/// use sea_orm::{ConnectOptions, ConnectionTrait};
/// use tenantry::Config;
/// use tracing::log::LevelFilter;
///
/// # fn example(migrator: impl tenantry_migrate::TenantMigrator + 'static) {
/// let mut options = ConnectOptions::new("postgres://db.example.org/shop?sslmode=verify-full");
/// options
///     .set_application_name("shop")
///     .sqlx_logging_level(LevelFilter::Debug)
///     .sqlx_slow_statements_logging_settings(LevelFilter::Warn, Duration::from_millis(200))
///     .map_sqlx_postgres_opts(|driver| driver.ssl_root_cert("/etc/ssl/company.pem"))
///     .after_connect(|connection| {
///         Box::pin(async move {
///             connection.execute_unprepared("SET work_mem = '16MB'").await.map(drop)
///         })
///     });
/// let config = Config { max_connections: 20, ..Config::new(options, migrator) };
/// # }
/// ```
///
/// [`connect_options`]: Config::connect_options
/// [`statement_cache`]: Config::statement_cache
#[derive(Clone)]
pub struct Config {
    /// The database and how to connect to it. `Debug` does not show them, as they may contain a
    /// password.
    pub connect_options: ConnectOptions,
    /// The migrations of a tenant's schema.
    pub migrator: DynMigrator,
    /// Prefix of the schema names of new tenants; may be empty. Lower-case letters, digits and `_`,
    /// at most 15 characters, so that every slug fits.
    pub schema_prefix: String,
    /// Domain whose subdomains are the slugs of tenants, such as `example.com`.
    pub base_domain: String,
    /// Whether a client of a suspended, archived or dropped tenant hears the reason. By default it
    /// gets the answer for a host without a tenant, and does not learn which tenants exist. Used by
    /// `tenantry-axum`; the API of this crate always returns the reason.
    pub reveal_unavailable: bool,
    /// Maximum number of connections, each opened when it is first needed. Two more are used for
    /// notifications and for resolving tenants; with a [direct URL](Config::direct_url), six.
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
    /// Memory of the server process of each connection, in bytes; `None` for no limit. A process
    /// caches the catalog entries of every table that it has used, about 16 KiB for each, and the
    /// plans of prepared statements. It is asked for the memory that it has allocated from time to
    /// time, and its connection is replaced when that is more than this. It should be enough for the
    /// tenants that prefer the same connection.
    ///
    /// The role needs `EXECUTE` on `pg_get_backend_memory_contexts()`, which [`setup`] grants; without
    /// it, 48 KiB are assumed for each tenant that the connection has served. Not used through a
    /// pooler ([`direct_url`](Self::direct_url)), which replaces server processes itself.
    ///
    /// [`setup`]: tenantry_migrate::setup
    pub connection_memory: Option<u64>,
    /// Maximum lifetime of a connection.
    pub max_lifetime: Duration,
    /// Number of statements that each connection keeps prepared: the most recently used ones of
    /// those that recur. By default as many as fit into a quarter of
    /// [`connection_memory`](Self::connection_memory) at 16 KiB each, 10,000 without a limit; through
    /// a pooler, 1000.
    pub statement_cache: Option<usize>,
    /// How the server plans prepared statements.
    pub plan_cache_mode: PlanCacheMode,
    /// How a statement is sent that is not kept prepared. With literals, its values can appear in the
    /// log of the server; none is sent where the driver logs statements, that is, unless
    /// `sqlx_logging` of [`connect_options`](Self::connect_options) is off.
    pub cold_statements: ColdStatements,
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
    /// Name of the user or program under which changes are recorded, see
    /// [`Tenancy::acting_as`](super::Tenancy::acting_as).
    pub actor: String,
    /// The same database for the role that owns schemas and tables, see [`Config::owner_url`].
    pub owner_options: Option<ConnectOptions>,
    /// The same database past a pooler in transaction mode, see [`Config::direct_url`].
    pub direct_options: Option<ConnectOptions>,
    /// How long entries of the audit log are kept; `None` to keep all. Every process deletes older
    /// ones each hour, with the shortest time that one of them is configured with.
    pub audit_retention: Option<Duration>,
    /// Inserts the first rows of every new tenant, see [`Config::seed`].
    pub seed: Option<Seed>,
}

impl Config {
    /// A configuration for the database of a URL or of SeaORM's [`ConnectOptions`].
    ///
    /// The default values: no prefix, base domain `localhost`, 10 connections of which one tenant
    /// holds at most 7, and timeouts of 5 seconds for a connection, 25 seconds for a statement and
    /// 30 seconds for an idle transaction. Tenants are cached for 30 seconds, and the actor is the
    /// name of the program. Entries of the audit log are kept for 365 days. Without spares and seed.
    /// As with SeaORM, statements are logged at the level `INFO` unless the options say otherwise.
    pub fn new<M: TenantMigrator + 'static>(
        connect_options: impl Into<ConnectOptions>,
        tenant_migrator: M,
    ) -> Self {
        let options = connect_options.into();
        let acquire_timeout = options.get_acquire_timeout().or(options.get_connect_timeout());
        let max_lifetime = options.get_max_lifetime().map(|max| max.unwrap_or(Duration::MAX));
        // With five seconds for an overdue answer, the timeout of a request.
        let statement_timeout = options.get_statement_timeout().unwrap_or(Duration::from_secs(25));
        Self {
            migrator: DynMigrator::tenant(tenant_migrator),
            schema_prefix: String::new(),
            base_domain: "localhost".to_owned(),
            reveal_unavailable: false,
            max_connections: options.get_max_connections().unwrap_or(10),
            tenant_share: 75,
            reserved_connections: 2,
            max_waiting: 200,
            connection_memory: Some(64 * 1024 * 1024),
            max_lifetime: max_lifetime.unwrap_or(Duration::from_secs(30 * 60)),
            statement_cache: None,
            plan_cache_mode: PlanCacheMode::default(),
            cold_statements: ColdStatements::default(),
            acquire_timeout: acquire_timeout.unwrap_or(Duration::from_secs(5)),
            statement_timeout: Some(statement_timeout),
            idle_in_transaction_timeout: Some(Duration::from_secs(30)),
            cache_ttl: Duration::from_secs(30),
            spares: 0,
            actor: program(),
            owner_options: None,
            direct_options: None,
            audit_retention: Some(Duration::from_secs(365 * 24 * 60 * 60)),
            seed: None,
            connect_options: options,
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

    /// Checks a [`schema_prefix`](Self::schema_prefix), as
    /// [`Tenancy::connect`](super::Tenancy::connect) does.
    ///
    /// # Errors
    /// The schema names of some slugs would not be valid with it.
    pub fn check_schema_prefix(prefix: &str) -> Result<(), NameError> {
        let longest = "a".repeat(Slug::MAX_LEN);
        SchemaName::new(&format!("{prefix}{longest}")).map(drop)
    }

    /// Checks a [`base_domain`](Self::base_domain) and returns it as [`Host::parse`](super::Host::parse)
    /// expects it. Its subdomains must be valid hostnames.
    ///
    /// # Errors
    /// They are not.
    pub fn check_base_domain(domain: &str) -> Result<String, NameError> {
        let below: Hostname = format!("tenant.{domain}").parse()?;
        Ok(below.as_str()["tenant.".len()..].to_owned())
    }

    /// Sets how to connect to the same database as the role that owns schemas and tables. Creations,
    /// drops, adoptions, spares and [`migrate_all`](super::Tenancy::migrate_all) use it, everything
    /// else [`connect_options`](Self::connect_options), whose role then needs no right to create:
    /// see [`tenantry_migrate::setup`]. At most four connections are opened when they are first
    /// needed, and closed when they were idle for ten minutes.
    ///
    /// ```
    /// # fn example(migrator: impl tenantry_migrate::TenantMigrator + 'static) -> tenantry::Config {
    /// use tenantry::Config;
    ///
    /// Config::new("postgres://shop_app@db.example.org/shop", migrator)
    ///     .owner_url("postgres://shop_owner@db.example.org/shop")
    /// # }
    /// ```
    #[must_use]
    pub fn owner_url(mut self, owner: impl Into<ConnectOptions>) -> Self {
        self.owner_options = Some(owner.into());
        self
    }

    /// Sets how to connect to the same database past a pooler in transaction mode, to which
    /// [`connect_options`](Self::connect_options) then lead (PgBouncer 1.21 or newer with
    /// `max_prepared_statements`). Only statements of tenants and of shared tables go through the
    /// pooler; notifications, lookups, creations, drops, migrations and everything else that needs a
    /// session of its own use at most six connections past it.
    ///
    /// Through the pooler, every statement outside a transaction is prepared under a name, unless it
    /// is sent with literals ([`cold_statements`](Self::cold_statements)), and none may leave
    /// something in the session: settings, temporary tables, session locks and `LISTEN` are refused
    /// ([`Misuse::NeedsSession`](super::Misuse::NeedsSession)). Transactions, streams and
    /// [`begin_with_search_path`](super::Tenant::begin_with_search_path) work. The settings of
    /// sessions are those of the role, see [`PoolerError::Settings`](super::PoolerError::Settings);
    /// [`Tenancy::connect`](super::Tenancy::connect) checks them, and whether the pooler keeps the
    /// statements of its clients apart. `after_connect` of `connect_options` is refused, and
    /// [`statement_cache`](Self::statement_cache) must not be 0.
    ///
    /// ```
    /// # fn example(migrator: impl tenantry_migrate::TenantMigrator + 'static) -> tenantry::Config {
    /// use tenantry::Config;
    ///
    /// Config::new("postgres://shop_app@pooler.example.org:6432/shop", migrator)
    ///     .direct_url("postgres://shop_app@db.example.org/shop")
    /// # }
    /// ```
    #[must_use]
    pub fn direct_url(mut self, direct: impl Into<ConnectOptions>) -> Self {
        self.direct_options = Some(direct.into());
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

impl Config {
    /// Number of statements that each connection keeps prepared.
    pub(super) fn statements(&self) -> usize {
        let fitting = || match self.direct_options {
            Some(_) => POOLED_STATEMENTS,
            None => fitting_statements(self.connection_memory),
        };
        self.statement_cache.unwrap_or_else(fitting)
    }
}

impl From<&Config> for PoolOptions {
    fn from(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections.max(1) as usize,
            tenant_share: config.tenant_share as usize,
            reserved_connections: config.reserved_connections as usize,
            max_waiting: config.max_waiting as usize,
            connection_memory: config.connection_memory,
            max_lifetime: config.max_lifetime,
            statement_cache: config.statements(),
            cold_statements: config.cold_statements,
            acquire_timeout: config.acquire_timeout,
            statement_timeout: config.statement_timeout,
            idle_in_transaction_timeout: config.idle_in_transaction_timeout,
            plan_cache_mode: config.plan_cache_mode,
            extensions: config.migrator.extension_path().into(),
            pooled: config.direct_options.is_some(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_migrator::Migrator;

    #[test]
    fn takes_the_figures_of_the_connection_options() {
        let mut options = ConnectOptions::new("postgres://localhost");
        options
            .max_connections(30)
            .connect_timeout(Duration::from_secs(1))
            .max_lifetime(None)
            .statement_timeout(Duration::from_secs(3));
        let config = Config::new(options.clone(), Migrator);
        assert_eq!(config.max_connections, 30);
        assert_eq!(config.acquire_timeout, Duration::from_secs(1));
        assert_eq!(config.max_lifetime, Duration::MAX);
        assert_eq!(config.statement_timeout, Some(Duration::from_secs(3)));
        options.acquire_timeout(Duration::from_secs(2)).max_lifetime(Duration::from_secs(9));
        let config = Config::new(options, Migrator);
        assert_eq!(config.acquire_timeout, Duration::from_secs(2));
        assert_eq!(config.max_lifetime, Duration::from_secs(9));
    }

    #[test]
    fn debug_shows_no_password() {
        let config = Config::new("postgres://me:hunter2@localhost", Migrator)
            .owner_url("postgres://owner:hunter2@localhost")
            .direct_url("postgres://direct:hunter2@localhost");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
