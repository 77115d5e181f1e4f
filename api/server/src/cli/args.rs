use std::{num::NonZeroU32, path::PathBuf};

use axum::http::{HeaderName, header};
use clap::{Args, Subcommand};
use clap_complete::Shell;
use tenantry::{DisplayName, Hostname, Metadata, Origin, Slug, Tag};
use tenantry_migrate::{
    cli::{MigrationArgs, SetupArgs},
    connect::Secret,
};

use super::{
    adopt::AdoptArgs,
    audit::AuditArgs,
    doctor::DoctorArgs,
    import::ImportArgs,
    jwt_args::JwtArgs,
    key::KeyArgs,
    lifecycle::LifecycleCommand,
    listen::ListenAddress,
    nodes::NodesArgs,
    options::TenancyArgs,
    transfer::{CloneArgs, ExportArgs},
};
use crate::AllowedHost;

/// The commands that every application has, see [`App`](super::App).
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Serve the API.
    Serve(Box<ServeArgs>),
    /// Create, import, adopt, list, show, change, suspend, archive and drop tenants.
    Tenant(Box<TenantArgs>),
    /// Create, list and revoke API keys of tenants and operators.
    Key(Box<KeyArgs>),
    /// Run and check migrations of the registry and of tenants' schemas.
    ///
    /// Exit status: 0 on success (`status`: all tenants up to date; `verify` and `check`: no
    /// findings), 1 if a tenant failed or was not started, 2 for an invalid command line, 130 after
    /// Ctrl-C.
    Migration(Box<MigrationArgs>),
    /// Create the roles with which the application needs no more rights than it uses.
    Setup(Box<SetupArgs>),
    /// Show who changed what, and when: the audit log.
    Audit(Box<AuditArgs>),
    /// Find what is half done or stray, and name the command that helps. Changes nothing without
    /// --fix.
    ///
    /// Exit status: 0 without findings or if all were fixed, 1 with findings, 2 if the command line
    /// is invalid or the database cannot be examined.
    Doctor(Box<DoctorArgs>),
    /// List the nodes of a Citus cluster: number of tenants, size of their tables, and statements in
    /// execution.
    Nodes(Box<NodesArgs>),
    /// Print a script that completes this command in a shell.
    ///
    /// For bash: `source <(COMMAND completions bash)` in ~/.bashrc.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages of this command to a folder.
    Man {
        /// The folder, such as /usr/local/share/man/man1. It is created if it does not exist.
        folder: PathBuf,
    },
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on. Of a host name, such as localhost:3000, the first address
    /// that can be used.
    #[arg(long, env = "TENANTRY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(super) listen: ListenAddress,

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

    /// Maximum length of a request body, in bytes, that a tenant can be given with `tenant update
    /// --max-body`. Other tenants have 65536.
    #[arg(
        long,
        env = "TENANTRY_MAX_BODY",
        value_name = "BYTES",
        default_value_t = 1_048_576,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) max_body: u32,

    /// Host that is served though it belongs to no tenant (repeatable, or separated by commas): a
    /// host name or address without a port, for routes that find the tenant elsewhere. All other
    /// hosts than the base domain, its subdomains and the domains of tenants are answered 404.
    #[arg(
        long = "allow-host",
        env = "TENANTRY_ALLOW_HOST",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub(super) allowed_hosts: Vec<AllowedHost>,

    /// Send Strict-Transport-Security with this age, in seconds: browsers then use HTTPS only. For
    /// a service that is reached by HTTPS under all its hosts.
    #[arg(long, env = "TENANTRY_HSTS", value_name = "SECONDS")]
    pub(super) hsts: Option<u32>,

    /// Answer requests to a suspended tenant with 403 and to an archived one with 410. By default
    /// they are answered as unknown hosts, and clients do not learn which tenants exist.
    #[arg(long, env = "TENANTRY_REVEAL_UNAVAILABLE")]
    pub(super) reveal_unavailable: bool,

    /// Admin token, at least 16 characters. Without it only keys of operators open the admin API;
    /// with the local PostgreSQL server a token is created in the data folder. Other users of the machine can see
    /// a program's arguments: use the variable or the file.
    #[arg(long, env = "TENANTRY_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) admin_token: Option<Secret>,

    /// File that contains the admin token and nothing else.
    #[arg(long, env = "TENANTRY_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(super) admin_token_file: Option<PathBuf>,

    /// Whether tenants' requests are answered without credentials; only on a loopback address, and not
    /// together with JSON Web Tokens or users of the application. By default true with the local PostgreSQL server on a loopback address, if the application has
    /// no users of its own, and false otherwise.
    #[arg(
        long,
        env = "TENANTRY_ANONYMOUS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub(super) anonymous: Option<bool>,

    /// Header with the address of a client, whose failed authentications are counted: one that a
    /// trusted proxy sets or appends to, such as X-Forwarded-For; the last address counts. Without
    /// it the address is that of the connection.
    #[arg(
        long,
        env = "TENANTRY_CLIENT_ADDRESS_HEADER",
        value_name = "NAME",
        value_parser = client_address_header
    )]
    pub(super) client_address_header: Option<HeaderName>,

    #[command(flatten)]
    pub(super) jwt: JwtArgs,

    #[command(flatten)]
    pub(super) tenancy: TenancyArgs,
}

/// Subcommands and options of `tenant`.
#[derive(Debug, Args)]
pub struct TenantArgs {
    #[command(subcommand)]
    pub(super) command: TenantCommand,

    #[command(flatten)]
    pub(super) tenancy: TenancyArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Create the tenants of a file, or one tenant from an export.
    ///
    /// An export (.tar, of `tenant export`) becomes one new tenant, all or nothing; Ctrl-C leaves
    /// nothing of it. The rest is about lists of tenants.
    ///
    /// Rejected lines are reported with their line number; the rest are still imported. Rerun the
    /// same command to resume an import: tenants that exist with the values of the file are left
    /// alone. Exit status: 0 if all tenants exist, 1 if a line was rejected or the file cannot be
    /// read, 130 after Ctrl-C, which finishes the tenants in progress.
    Import(ImportArgs),
    /// Make a tenant of a schema that exists already.
    ///
    /// The schema is compared with what the migrations of its version create in an empty schema. If
    /// there are no differences, the version is recorded. Everything happens in one transaction.
    Adopt(AdoptArgs),
    /// Write a tenant to a tar archive, in the state of one moment.
    ///
    /// The tenant can be used meanwhile, and may be suspended or archived. `tenant import` makes a
    /// tenant of the archive. Exit status: 130 after Ctrl-C, which leaves no file.
    Export(ExportArgs),
    /// Create a tenant with the rows of another one, as they are at one moment.
    ///
    /// Its name, tags, metadata and limits are copied too; its domains stay with it. Exit status:
    /// 130 after Ctrl-C, which leaves nothing.
    Clone(CloneArgs),
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
        /// Data of the application, a JSON object such as {"plan": "gold"}.
        #[arg(long, value_name = "JSON", value_parser = metadata)]
        metadata: Option<Metadata>,
        #[command(flatten)]
        output: Output,
    },
    /// Change the name, the tags, the metadata or the HTTP settings of a tenant. Everything else stays as it is.
    Update {
        /// Slug of the tenant.
        slug: Slug,
        #[command(flatten)]
        change: UpdateArgs,
        #[command(flatten)]
        output: Output,
    },
    /// List all tenants.
    List {
        #[command(flatten)]
        output: Output,
        /// Print all columns, also if the terminal is too narrow for them.
        #[arg(long, conflicts_with = "json")]
        wide: bool,
        /// Show the node of each tenant, in a Citus cluster.
        #[arg(long)]
        placement: bool,
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
    /// Move a tenant to another node of a Citus cluster while it is in use.
    ///
    /// Statements that write to the tenant wait at the end, usually for less than a second. Takes as
    /// long as copying the data. If it is interrupted, the tenant stays where it is.
    Move {
        /// Slug of the tenant.
        slug: Slug,
        /// Node: HOST or HOST:PORT, as `nodes` shows it.
        node: String,
        #[command(flatten)]
        output: Output,
    },
    #[command(flatten)]
    Lifecycle(LifecycleCommand),
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

/// Changes to a tenant.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct UpdateArgs {
    /// New display name.
    #[arg(long)]
    pub(super) name: Option<DisplayName>,
    /// Remove the display name.
    #[arg(long, conflicts_with = "name")]
    pub(super) clear_name: bool,
    /// Tag, such as canary (repeatable). All other tags are removed.
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<Tag>,
    /// Remove all tags.
    #[arg(long, conflicts_with = "tags")]
    pub(super) clear_tags: bool,
    /// Data of the application, a JSON object such as {"plan": "gold", "trial": null}. Each of its
    /// keys is set, or removed if its value is null.
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    pub(super) metadata: Option<Metadata>,
    /// Maximum length of a request body, up to --max-body of the servers.
    #[arg(long, value_name = "BYTES")]
    pub(super) max_body: Option<NonZeroU32>,
    /// Reset the maximum length of a request body to 65536 bytes.
    #[arg(long, conflicts_with = "max_body")]
    pub(super) clear_max_body: bool,
    /// Origin whose pages may call the tenant from a browser, such as https://app.example.org
    /// (repeatable). All other origins are removed.
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub(super) cors_origins: Vec<Origin>,
    /// Remove all origins.
    #[arg(long, conflicts_with = "cors_origins")]
    pub(super) clear_cors_origins: bool,
}

fn client_address_header(name: &str) -> Result<HeaderName, String> {
    match name.parse::<HeaderName>() {
        Ok(name) if name == header::FORWARDED => Err("this header (RFC 7239) is not read; have              the proxy set one with the address alone, such as X-Forwarded-For or X-Real-IP"
            .to_owned()),
        Ok(name) => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}

fn metadata(json: &str) -> Result<Metadata, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
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
