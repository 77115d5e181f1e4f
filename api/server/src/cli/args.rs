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

    /// How to write the log, which goes to standard error; RUST_LOG says how much.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: LogFormat,

    /// Without one: serve.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What holds without a subcommand, and the variables that have no option.
fn after_help() -> String {
    let mut help = "Without a command it serves, and takes the options of `serve`:\n".to_owned();
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
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What every subcommand needs to know of the tenants.
#[derive(Debug, Clone, Args)]
pub(super) struct TenancyArgs {
    #[command(flatten)]
    pub(super) database: DatabaseArgs,

    /// Domain whose subdomains are tenants: tenant-1.BASE-DOMAIN. The operator's routes are on
    /// the domain itself.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_BASE_DOMAIN",
        value_name = "DOMAIN",
        default_value = "localhost"
    )]
    pub(super) base_domain: String,

    /// Put before the name of every new tenant's schema; at most 15 characters.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_SCHEMA_PREFIX",
        value_name = "PREFIX",
        default_value = ""
    )]
    pub(super) schema_prefix: String,

    /// Most database connections; two more are kept, for announcements and for looking up
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

    /// Percentage of the connections that one tenant may hold at a time; the same for creations,
    /// drops and spares together.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_TENANT_SHARE",
        value_name = "PERCENT",
        default_value_t = 75,
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub(super) tenant_share: u32,

    /// Connections that stay free for tenants that hold none, at most half of them all.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_RESERVED_CONNECTIONS",
        value_name = "N",
        default_value_t = 2
    )]
    pub(super) reserved_connections: u32,

    /// Statements of one tenant that may wait for a connection; further ones are answered 503 at
    /// once.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_MAX_WAITING",
        value_name = "N",
        default_value_t = 200
    )]
    pub(super) max_waiting: u32,

    /// Statements that each connection keeps prepared. More of them spare the server work where
    /// many tenants are busy, and take memory in each of its processes.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_STATEMENT_CACHE",
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) statement_cache: u32,

    /// How long a statement of a tenant may take; fractions are allowed, 0 is for any time.
    #[arg(
        long,
        global = true,
        env = "TENANTRY_STATEMENT_TIMEOUT",
        value_name = "SECONDS",
        default_value = "25",
        value_parser = tenantry_migrate::cli::seconds
    )]
    pub(super) statement_timeout: Duration,

    /// Schemas that are made ahead, so that a new tenant only has to take one.
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

    /// Most requests that are served at the same time. Further ones are answered 503 at once;
    /// /health has places of its own.
    #[arg(
        long,
        env = "TENANTRY_MAX_REQUESTS",
        value_name = "N",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) max_requests: u32,

    /// Secret of the operator, at least 16 characters. Without it the routes under /admin refuse,
    /// but for the machine's own PostgreSQL one is made and kept in the data folder. Other users of
    /// the machine can see a program's arguments: give it by the variable or the file.
    #[arg(long, env = "TENANTRY_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) admin_token: Option<Secret>,

    /// File that holds the operator's secret and nothing else.
    #[arg(long, env = "TENANTRY_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Create the tenants of a file.
    ///
    /// A line that is refused is told with its number and does not hold up the others. Run it
    /// again to go on after whatever ended it: tenants that are there already as the file has
    /// them are left alone. Exit status: 0 when all are there, 1 when a line was refused or the
    /// file cannot be read, 130 after Ctrl-C, which finishes what is in hand.
    Import(ImportArgs),
    #[command(flatten)]
    Single(SingleCommand),
}

/// What is done to one tenant or seen of all.
#[derive(Debug, Subcommand)]
pub(super) enum SingleCommand {
    /// Create a tenant with its schema and tables.
    Create {
        /// Name of the tenant in URLs, such as tenant-1.
        slug: Slug,
        /// What people call it, such as "Acme Ltd".
        #[arg(long)]
        name: Option<DisplayName>,
        /// Host name of its own besides the subdomain (repeatable).
        #[arg(long = "domain", value_name = "HOST")]
        domains: Vec<Hostname>,
        /// Word by which tenants are told apart, such as canary (repeatable).
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
        /// Name of the tenant.
        slug: Slug,
        #[command(flatten)]
        output: Output,
    },
    /// DELETE ALL DATA of a tenant: its schema, its tables, its entry. Asks first.
    Drop {
        /// Name of the tenant.
        slug: Slug,
        /// Also drop the views, foreign keys and other objects outside the tenant's schema that
        /// depend on it; without this option they are listed, and nothing is dropped.
        #[arg(long)]
        cascade: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Set how much of the database connections a tenant may take.
    ///
    /// Every server applies it from the next statement on. A limit that is left out is back at the
    /// default: --tenant-share and --max-waiting of the server.
    Limit {
        /// Name of the tenant.
        slug: Slug,
        /// Most connections that it holds at a time, in each server.
        #[arg(long, value_name = "N")]
        connections: Option<NonZeroU32>,
        /// Statements of it that may wait for a connection, in each server.
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
    /// Make a host name lead to a tenant.
    Add {
        /// Name of the tenant.
        slug: Slug,
        /// The host name.
        host: Hostname,
    },
    /// Take a host name away from a tenant.
    Remove {
        /// Name of the tenant.
        slug: Slug,
        /// The host name.
        host: Hostname,
    },
    /// List the host names of a tenant.
    List {
        /// Name of the tenant.
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
