use std::time::Duration;

use clap::{Args, ValueEnum};
use tenantry::{ColdStatements, Config, PlanCacheMode};
use tenantry_migrate::connect::DatabaseArgs;

/// Options of all commands: the database and the log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    #[command(flatten)]
    pub(super) database: DatabaseArgs,

    /// Format of the log on standard error. RUST_LOG sets what is logged.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColdStatementsArg {
    /// With its values as literals, in one round trip.
    Literal,
    /// Prepared for one execution, in two round trips.
    Prepared,
}

impl From<ColdStatementsArg> for ColdStatements {
    fn from(arg: ColdStatementsArg) -> Self {
        match arg {
            ColdStatementsArg::Literal => Self::Literal,
            ColdStatementsArg::Prepared => Self::Prepared,
        }
    }
}

/// Options of all commands that use tenants. Defaults and variables are those of
/// `docs/CONFIGURATION.md`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tenants and connections")]
pub struct TenancyArgs {
    /// Domain whose subdomains are tenants: tenant-1.BASE-DOMAIN. The admin API is on the domain
    /// itself.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_BASE_DOMAIN",
        value_name = "DOMAIN",
        default_value = "localhost",
        value_parser = base_domain
    )]
    pub(super) base_domain: String,

    /// Prefix for the schema names of new tenants; at most 15 characters.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_SCHEMA_PREFIX",
        value_name = "PREFIX",
        default_value = "",
        value_parser = schema_prefix
    )]
    pub(super) schema_prefix: String,

    /// Maximum number of database connections, plus two: one for LISTEN/NOTIFY, one for looking up
    /// tenants.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) max_connections: u32,

    /// Maximum share of the connections that one tenant holds, in percent. Creations, drops and
    /// spare schemas together have the same limit.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_TENANT_SHARE",
        value_name = "PERCENT",
        default_value_t = 75,
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub(super) tenant_share: u32,

    /// Connections reserved for tenants that hold none; at most half of all.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_RESERVED_CONNECTIONS",
        value_name = "N",
        default_value_t = 2
    )]
    pub(super) reserved_connections: u32,

    /// Maximum number of statements of one tenant that wait for a connection. Further ones are
    /// answered 503 at once.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_MAX_WAITING",
        value_name = "N",
        default_value_t = 200
    )]
    pub(super) max_waiting: u32,

    /// Memory of the server process of each connection, in MiB; 0 for no limit. A connection is
    /// replaced when its process has allocated more for the tables and prepared statements of the
    /// tenants that it has served. Not used through a pooler in transaction mode.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_CONNECTION_MEMORY",
        value_name = "MIB",
        default_value_t = 64
    )]
    pub(super) connection_memory: u32,

    /// Maximum number of prepared statements on each connection; by default as many as fit into a
    /// quarter of its memory, through a pooler 1000.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_STATEMENT_CACHE",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) statement_cache: Option<u32>,

    /// How the server plans prepared statements: for their values five times and then for any values
    /// if that costs no more (auto), always for any values, or always for their values.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_PLAN_CACHE_MODE",
        value_name = "MODE",
        default_value = "auto"
    )]
    pub(super) plan_cache_mode: PlanCacheModeArg,

    /// How a statement is sent that is not kept prepared. With literals its values can appear in the
    /// log of the database, and this program logs no statements of tenants; see docs/SECURITY.md.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_COLD_STATEMENTS",
        value_name = "WAY",
        default_value = "prepared"
    )]
    pub(super) cold_statements: ColdStatementsArg,

    /// Timeout of a tenant's statement in seconds; fractions allowed, 0 disables it.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_STATEMENT_TIMEOUT",
        value_name = "SECONDS",
        default_value = "25",
        value_parser = tenantry_migrate::cli::seconds
    )]
    pub(super) statement_timeout: Duration,

    /// Number of spare schemas that are created in advance, so that a new tenant gets one at once.
    #[arg(long, global = true, env = "TENANTRY_SPARES", value_name = "N", default_value_t = 0)]
    pub(super) spares: u32,

    /// Number of days for which entries of the audit log are kept; 0 keeps them forever. Servers
    /// delete older ones.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_AUDIT_RETENTION",
        value_name = "DAYS",
        default_value_t = 365
    )]
    pub(super) audit_retention: u32,
}

/// [`PlanCacheMode`] by the names of the server's setting.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PlanCacheModeArg {
    #[value(name = "auto")]
    Auto,
    #[value(name = "force_generic_plan")]
    ForceGeneric,
    #[value(name = "force_custom_plan")]
    ForceCustom,
}

impl From<PlanCacheModeArg> for PlanCacheMode {
    fn from(mode: PlanCacheModeArg) -> Self {
        match mode {
            PlanCacheModeArg::Auto => Self::Auto,
            PlanCacheModeArg::ForceGeneric => Self::ForceGeneric,
            PlanCacheModeArg::ForceCustom => Self::ForceCustom,
        }
    }
}

fn base_domain(text: &str) -> Result<String, String> {
    Config::check_base_domain(text).map_err(|error| error.rule().to_owned())
}

fn schema_prefix(text: &str) -> Result<String, String> {
    match Config::check_schema_prefix(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => {
            Err("use at most 15 of a-z, 0-9 and _, beginning with a letter other than in pg_ \
                       or with _"
                .to_owned())
        }
    }
}
