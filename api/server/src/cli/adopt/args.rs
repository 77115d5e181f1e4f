use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use tenantry::{DisplayName, Framework, Hostname, SchemaName, Slug, Tag, TenantList};

use super::entry::SlugFrom;

#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArgs {
    /// Slug of the tenant.
    #[arg(
        value_name = "SLUG",
        required_unless_present = "list_from",
        conflicts_with = "list_from"
    )]
    pub(super) slug: Option<Slug>,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Display name, such as "Acme Ltd".
    #[arg(long, conflicts_with = "list_from")]
    pub(super) name: Option<DisplayName>,
    /// Host name in addition to the subdomain (repeatable).
    #[arg(long = "domain", value_name = "HOST", conflicts_with = "list_from")]
    pub(super) domains: Vec<Hostname>,
    /// Tag, such as canary (repeatable).
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "list_from")]
    pub(super) tags: Vec<Tag>,
    #[command(flatten)]
    pub(super) list: ListArgs,
    #[command(flatten)]
    pub(super) conditions: ConditionArgs,
    /// Print JSON instead of text; with --list-from a line for each tenant and one for the summary.
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
    /// Adopt the tenants that another framework lists in this database. Rerun the same command to
    /// resume: tenants that are adopted are left alone.
    #[arg(long, value_name = "FRAMEWORK")]
    pub(super) list_from: Option<FrameworkArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FrameworkArg {
    /// A table of the application [default: accounts, with the column subdomain].
    Apartment,
    /// The tables of TenantMixin and DomainMixin, which are found by their columns.
    DjangoTenants,
    /// The schemas with the table schema_migrations, or a table of the application.
    Triplex,
}

/// Where a framework lists its tenants, and how their slugs are derived.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Table with the tenants: TABLE in the schema public, or SCHEMA.TABLE.
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["schema", "from"])]
    pub(super) table: Option<String>,
    /// Column with the names of the schemas [default: subdomain for Apartment, schema_name for
    /// django-tenants, id for Triplex].
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["schema", "from"])]
    pub(super) schema_column: Option<String>,
    /// Column with display names.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["schema", "from"])]
    pub(super) name_column: Option<String>,
    /// Prefix of the schemas' names that the column and the slugs do not have, such as tenant_prefix
    /// of Triplex.
    #[arg(long, value_name = "PREFIX", default_value = "", conflicts_with_all = ["schema", "from"])]
    pub(super) prefix: String,
    /// Source of the slugs [default: the subdomain of the base domain that the framework lists for a
    /// tenant, else the name of the schema].
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["schema", "from"])]
    pub(super) slug_from: Option<SlugFrom>,
    /// Leave out the host names that the framework lists.
    #[arg(long, conflicts_with_all = ["schema", "from"])]
    pub(super) no_domains: bool,
}

impl ListArgs {
    pub(super) fn of(&self, framework: FrameworkArg) -> TenantList {
        let mut list = TenantList::new(match framework {
            FrameworkArg::Apartment => Framework::Apartment,
            FrameworkArg::DjangoTenants => Framework::DjangoTenants,
            FrameworkArg::Triplex => Framework::Triplex,
        });
        list.table.clone_from(&self.table);
        list.schema_column.clone_from(&self.schema_column);
        list.name_column.clone_from(&self.name_column);
        list.prefix.clone_from(&self.prefix);
        list
    }
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
