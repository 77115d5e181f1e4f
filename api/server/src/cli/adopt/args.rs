use std::{path::PathBuf, time::Duration};

use clap::Args;
use tenantry::{DisplayName, Hostname, SchemaName, Slug, Tag};

#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArgs {
    /// Slug of the tenant.
    #[arg(value_name = "SLUG")]
    pub(super) slug: Slug,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Display name, such as "Acme Ltd".
    #[arg(long)]
    pub(super) name: Option<DisplayName>,
    /// Host name in addition to the subdomain (repeatable).
    #[arg(long = "domain", value_name = "HOST")]
    pub(super) domains: Vec<Hostname>,
    /// Tag, such as canary (repeatable).
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<Tag>,
    #[command(flatten)]
    pub(super) conditions: ConditionArgs,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}

/// The schema that is adopted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct SourceArgs {
    /// The schema that becomes the tenant's, with any name.
    #[arg(long, value_name = "NAME")]
    pub(super) schema: Option<SchemaName>,
    /// The schema, such as public, whose objects are moved into a new schema for the tenant. Objects
    /// of extensions stay, and so does the schema.
    #[arg(long, value_name = "NAME")]
    pub(super) from: Option<String>,
}

/// Under which conditions a schema is adopted.
#[derive(Debug, Args)]
pub(super) struct ConditionArgs {
    /// Newest migration that the schema has, if its migrations table does not say it [default: all
    /// migrations].
    #[arg(long, value_name = "MIGRATION")]
    pub(super) at: Option<String>,
    /// Report the differences, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Adopt the schema even if it differs from what the migrations create.
    #[arg(long)]
    pub(super) allow_differences: bool,
    /// JSON file with differences to allow, as for `migration verify --allow`.
    #[arg(long, value_name = "FILE")]
    pub(super) allow: Option<PathBuf>,
    /// How long to wait for sessions that use the tables, in seconds; fractions allowed.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "10",
        value_parser = tenantry_migrate::cli::seconds
    )]
    pub(super) lock_timeout: Duration,
}
