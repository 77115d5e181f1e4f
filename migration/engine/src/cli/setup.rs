//! `migration setup`.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{
    format::plural,
    terminal::{print_note, print_text},
};
use crate::{
    DynMigrator, confirm_application,
    connect::DatabaseArgs,
    setup::{RoleName, SetupOptions, SetupStep, apply, plan},
};

/// Options of `setup`.
///
/// Connects with the direct URL or else the database URL, as an administrator: a superuser, or a role that may create roles
/// and owns the database. Compares roles and privileges with what an application needs, and prints or
/// runs the statements that are missing, so it may be run again at any time.
#[derive(Debug, Clone, Args)]
pub struct SetupArgs {
    /// Print the statements as a script for psql. Changes nothing.
    #[arg(long, required_unless_present = "apply", conflicts_with = "apply")]
    print_sql: bool,
    /// Run the statements, each step in a transaction of its own.
    #[arg(long)]
    apply: bool,
    /// Role that owns schemas and tables: creations, drops and migrations use it. It is created
    /// without a password if it does not exist [default: DATABASE_owner].
    #[arg(long, value_name = "ROLE")]
    owner_role: Option<RoleName>,
    /// Role that the application serves with: it reads and writes rows, and can neither create nor
    /// drop. It is created without a password if it does not exist [default: DATABASE_app].
    #[arg(long, value_name = "ROLE")]
    app_role: Option<RoleName>,
    /// Give objects of the registry, the shared tables and the tenants that belong to other roles to
    /// the owner. Locks each of them for a moment.
    #[arg(long)]
    take_ownership: bool,
    /// Also take the right to connect to the other databases of the server from all roles (PUBLIC),
    /// which affects all roles that were not given it by name.
    #[arg(long)]
    other_databases: bool,
    /// Longest statement timeout of the role that the application serves with, in seconds, for
    /// sessions behind a pooler; fractions allowed, 0 for none. That of the servers, or shorter.
    #[arg(
        long,
        env = "TENANTRY_STATEMENT_TIMEOUT",
        value_name = "SECONDS",
        default_value = "25",
        value_parser = super::seconds
    )]
    statement_timeout: Duration,
}

/// Prints or runs what is missing.
pub(super) async fn run(
    args: &SetupArgs,
    database: &DatabaseArgs,
    migrator: &DynMigrator,
) -> Result<ExitCode, Box<dyn Error>> {
    let database = database.connect(1).await?;
    let db = &database.connection;
    confirm_application(db, migrator).await?;
    let options = SetupOptions {
        owner_role: args.owner_role.clone(),
        app_role: args.app_role.clone(),
        take_ownership: args.take_ownership,
        other_databases: args.other_databases,
        statement_timeout: Some(args.statement_timeout),
        ..SetupOptions::default()
    };
    if args.print_sql {
        let plan = plan(db, migrator, &options).await?;
        write!(io::stdout().lock(), "{plan}")?;
    } else {
        let report = |SetupStep { title, statements, .. }: &SetupStep| {
            print_text(&format!("{title}: {}\n", plural(statements.len(), "statement")));
        };
        let done = apply(db, migrator, &options, report).await?;
        print_text(&format!(
            "role {:?} owns schemas and tables, role {:?} reads and writes rows\n",
            done.owner.as_str(),
            done.application.as_str()
        ));
        for remark in done.remarks() {
            print_note(remark);
        }
    }
    database.connection.close_by_ref().await?;
    Ok(ExitCode::SUCCESS)
}
