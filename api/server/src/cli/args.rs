use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tenantry::{DisplayName, Hostname, Slug, Tag};
use tenantry_migrate::connect::{DatabaseArgs, Secret, variables_help};

use super::import::ImportArgs;

/// Schema-per-tenant for Rust applications on SeaORM and PostgreSQL.
///
/// Exit status: 0 when all went well, 1 when something failed, 2 when the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, after_help = after_help())]
pub struct Cli {
    #[command(flatten)]
    pub(super) tenancy: TenancyArgs,

    /// Format of the log on standard error. RUST_LOG sets what is logged.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: LogFormat,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// The options of `serve`, which is the default command, and variables without an option.
fn after_help() -> String {
    let mut help = "Without a command, `serve` is assumed. Its options:\n".to_owned();
    let mut serve = ServeArgs::augment_args(clap::Command::new("serve").disable_help_flag(true));
    serve.build();
    for arg in serve.get_arguments() {
        let meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        help.push_str(&format!("  {:<24}{meaning}\n", arg.to_string()));
    }
    format!("{help}\n{}", variables_help())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Options of all subcommands.
#[derive(Debug, Clone, Args)]
pub(super) struct TenancyArgs {
    #[command(flatten)]
    pub(super) database: DatabaseArgs,

    /// Domain whose subdomains are tenants: tenant-1.BASE-DOMAIN. The admin API is on the domain
    /// itself.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_BASE_DOMAIN",
        value_name = "DOMAIN",
        default_value = "localhost"
    )]
    pub(super) base_domain: String,

    /// Prefix for the schema names of new tenants; at most 15 characters.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_SCHEMA_PREFIX",
        value_name = "PREFIX",
        default_value = ""
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

    /// Maximum number of prepared statements on each connection. A higher number saves the server
    /// work if many tenants are busy, and takes memory in each of its processes.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_STATEMENT_CACHE",
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) statement_cache: u32,

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
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the API.
    Serve(ServeArgs),
    /// Create, import, list, show and drop tenants.
    Tenant {
        #[command(subcommand)]
        command: TenantCommand,
    },
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on.
    #[arg(long, env = "TENANTRY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(super) listen: SocketAddr,

    /// Maximum number of requests served at the same time. Further ones are answered 503 at once;
    /// /health is not counted.
    #[arg(
        long,
        env = "TENANTRY_MAX_REQUESTS",
        value_name = "N",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) max_requests: u32,

    /// Admin token, at least 16 characters. Without it the admin API is disabled; with the local
    /// PostgreSQL server a token is created in the data folder. Other users of the machine can see
    /// a program's arguments: use the variable or the file.
    #[arg(long, env = "TENANTRY_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) admin_token: Option<Secret>,

    /// File that contains the admin token and nothing else.
    #[arg(long, env = "TENANTRY_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Create the tenants of a file.
    ///
    /// Rejected lines are reported with their line number; the rest are still imported. Rerun the
    /// same command to resume an import: tenants that exist with the values of the file are left
    /// alone. Exit status: 0 if all tenants exist, 1 if a line was rejected or the file cannot be
    /// read, 130 after Ctrl-C, which finishes the tenants in progress.
    Import(ImportArgs),
    #[command(flatten)]
    Single(SingleCommand),
}

/// Commands for one tenant, and the list of all.
#[derive(Debug, Subcommand)]
pub(super) enum SingleCommand {
    /// Create a tenant with its schema and tables.
    Create {
        /// Slug: the tenant's name in URLs and commands, such as tenant-1.
        slug: Slug,
        /// Display name, such as "Acme Ltd".
        #[arg(long)]
        name: Option<DisplayName>,
        /// Host name in addition to the subdomain (repeatable).
        #[arg(long = "domain", value_name = "HOST")]
        domains: Vec<Hostname>,
        /// Tag, such as canary (repeatable).
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<Tag>,
        #[command(flatten)]
        output: Output,
    },
    /// List all tenants.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one tenant.
    Show {
        /// Slug of the tenant.
        slug: Slug,
        #[command(flatten)]
        output: Output,
    },
    /// DELETE ALL DATA of a tenant: its schema, its tables, its entry. Asks for confirmation.
    Drop {
        /// Slug of the tenant.
        slug: Slug,
        /// Also drop the views, foreign keys and other objects outside the tenant's schema that
        /// depend on it. Without this option they are listed, and nothing is dropped.
        #[arg(long)]
        cascade: bool,
        /// Skip the confirmation prompt.
        #[arg(short, long)]
        yes: bool,
    },
    /// Limit a tenant's share of the database connections.
    ///
    /// Servers apply it from the next statement on. A limit that is left out is reset to the
    /// default: --tenant-share and --max-waiting of the server.
    Limit {
        /// Slug of the tenant.
        slug: Slug,
        /// Maximum number of connections that it holds, in each server.
        #[arg(long, value_name = "N")]
        connections: Option<NonZeroU32>,
        /// Maximum number of its statements that wait for a connection, in each server.
        #[arg(long, value_name = "N")]
        waiting: Option<u32>,
    },
    /// Change the host names of a tenant.
    Domain {
        #[command(subcommand)]
        command: DomainCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DomainCommand {
    /// Route a host name to a tenant.
    Add {
        /// Slug of the tenant.
        slug: Slug,
        /// The host name.
        host: Hostname,
    },
    /// Remove a host name from a tenant.
    Remove {
        /// Slug of the tenant.
        slug: Slug,
        /// The host name.
        host: Hostname,
    },
    /// List the host names of a tenant.
    List {
        /// Slug of the tenant.
        slug: Slug,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}
