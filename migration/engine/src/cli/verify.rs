//! `migration verify`.

use std::{
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use tenantry_registry::{SchemaName, Slug};

use crate::{
    DynMigrator, confirm_application,
    connect::DatabaseArgs,
    drift::{Allowlist, VerifyTarget, verify_with_allowlist},
};

#[derive(Debug, Clone, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    what: What,
    /// File that lists what may be found, each with the reason: a JSON array of objects that have
    /// the form of the findings, such as {"change": "extra", "object": "table", "prefix":
    /// "visits_20", "reason": "…"}. With --all, what is listed and not found is a finding, too.
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Write one JSON document, in which every tenant is named.
    #[arg(long)]
    json: bool,
}

/// Exactly one of these.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The tenant of this slug (repeatable).
    #[arg(long = "tenant", value_name = "SLUG", value_delimiter = ',')]
    tenants: Vec<Slug>,
    /// Every tenant, and what is in the database besides them.
    #[arg(long)]
    all: bool,
    /// A bare schema, whether or not it belongs to a tenant.
    #[arg(long, value_name = "NAME")]
    schema: Option<SchemaName>,
}

/// Says what was found; status 1 when anything was.
pub(super) async fn run(
    args: &VerifyArgs,
    database: &DatabaseArgs,
    migrator: &DynMigrator,
) -> Result<ExitCode, Box<dyn Error>> {
    let scope = match &args.what.schema {
        Some(schema) => VerifyTarget::Schema(schema.clone()),
        None if args.what.all => VerifyTarget::All,
        None => VerifyTarget::Tenants(args.what.tenants.clone()),
    };
    let allowed = args.allow.as_deref().map(read).transpose()?.unwrap_or_default();
    let database = database.connect(2).await?;
    confirm_application(&database.connection, migrator).await?;
    let found = verify_with_allowlist(&database.connection, migrator, &scope, &allowed).await?;
    database.connection.close_by_ref().await?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &found)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{found}")?;
    }
    Ok(if found.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The list of what may be found.
fn read(file: &Path) -> Result<Allowlist, String> {
    let name = file.display();
    let json = std::fs::read_to_string(file)
        .map_err(|error| format!("{name} cannot be read: {error}; check the path of --allow"))?;
    json.parse().map_err(|error| format!("{name}: {error}"))
}
