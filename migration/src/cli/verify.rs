//! `migration verify`.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use entity::registry::{SchemaName, Slug};

use crate::{
    AnyMigrator, confirm_application,
    connect::DatabaseArgs,
    verify::{Scope, verify},
};

#[derive(Debug, Clone, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    what: What,
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
    migrator: &AnyMigrator,
) -> Result<ExitCode, Box<dyn Error>> {
    let scope = match &args.what.schema {
        Some(schema) => Scope::Schema(schema.clone()),
        None if args.what.all => Scope::All,
        None => Scope::Tenants(args.what.tenants.clone()),
    };
    let database = database.connect(2).await?;
    confirm_application(&database.connection, migrator).await?;
    let found = verify(&database.connection, migrator, &scope).await?;
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
