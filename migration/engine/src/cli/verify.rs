//! `migration verify`.

use std::{
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use tenantry_registry::{SchemaName, Slug};

use super::{names::CommandNames, terminal::print_json};
use crate::{
    DynMigrator, confirm_application,
    connect::DatabaseArgs,
    drift::{Allowlist, Finding, VerifyTarget, verify_with_allowlist},
};

#[derive(Debug, Clone, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    target: VerifyTargetArgs,
    /// JSON file with findings to allow: an array of objects in the form of the findings, each with
    /// a reason, such as {"change": "extra", "object": "table", "prefix": "visits_20", "reason":
    /// "…"}. With --all, an entry that matches nothing is a finding.
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Print one JSON document that names every tenant.
    #[arg(long)]
    json: bool,
}

/// The schemas to verify: exactly one option.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct VerifyTargetArgs {
    /// The tenant with this slug (repeatable).
    #[arg(long = "tenant", value_name = "SLUG", value_delimiter = ',')]
    tenants: Vec<Slug>,
    /// All tenants, the shared tables, and objects in the database that belong to neither.
    #[arg(long)]
    all: bool,
    /// The application's shared tables, which exist once.
    #[arg(long)]
    shared: bool,
    /// A schema, whether or not it belongs to a tenant.
    #[arg(long, value_name = "NAME")]
    schema: Option<SchemaName>,
}

/// Prints the findings. Exit status 1 if there are any.
pub(super) async fn run(
    args: &VerifyArgs,
    database: &DatabaseArgs,
    migrator: &DynMigrator,
    names: &CommandNames,
) -> Result<ExitCode, Box<dyn Error>> {
    let target = match &args.target.schema {
        Some(schema) => VerifyTarget::Schema(schema.clone()),
        None if args.target.all => VerifyTarget::All,
        None if args.target.shared => VerifyTarget::Shared,
        None => VerifyTarget::Tenants(args.target.tenants.clone()),
    };
    let allowed = args.allow.as_deref().map(read_allowlist).transpose()?.unwrap_or_default();
    let database = database.connect_as_owner(2).await?;
    confirm_application(&database.connection, migrator).await?;
    let found = verify_with_allowlist(&database.connection, migrator, &target, &allowed).await?;
    database.connection.close_by_ref().await?;
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&found)?;
    } else {
        writeln!(out, "{found}")?;
        for finding in &found.findings {
            if let Finding::Dropping { tenant } = finding {
                let finish = names.tenant(&format!("drop {tenant}"));
                writeln!(out, "To finish an interrupted drop: `{finish}`")?;
            }
        }
    }
    Ok(if found.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_allowlist(file: &Path) -> Result<Allowlist, String> {
    let name = file.display();
    let json = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {name}: {error}; check the path given to --allow"))?;
    json.parse().map_err(|error| format!("{name}: {error}"))
}
