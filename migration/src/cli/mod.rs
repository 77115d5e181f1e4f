//! The `migration` command, for any application's migrators.
//!
//! A workspace of its own makes its command with three lines:
//!
//! ```no_run
//! # use migration::tenant::Migrator;
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     migration::cli::main(Migrator).await
//! }
//! ```

mod args;
mod output;
mod table;
mod targets;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use sea_orm_migration::MigratorTraitSelf;

pub use args::Cli;
use args::Work;
pub use table::table;

use crate::{Action, AnyMigrator, Target, dry_run, registry, run, state};

/// Reads the command line, does what it says and tells how it went: 0 when all went well, 1 when
/// something failed (each failure is named), 2 when the command line is wrong.
pub async fn main<M: MigratorTraitSelf + 'static>(tenant_migrator: M) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    let runner = Runner {
        tenant: AnyMigrator::new(tenant_migrator),
        registry: AnyMigrator::new(registry::Migrator),
    };
    match runner.execute(cli).await {
        Ok(code) => code,
        Err(error) => {
            output::failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// The two migrators of an application.
struct Runner {
    tenant: AnyMigrator,
    registry: AnyMigrator,
}

impl Runner {
    async fn execute(&self, cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
        let (targets, work) = cli.command.work();
        if targets.is_empty() {
            output::names(&self.tenant)?;
            return Ok(ExitCode::SUCCESS);
        }
        let database = cli.database.connect().await?;
        let db = &database.connection;
        let targets = targets::resolve(db, targets).await?;
        if matches!(work, Work::Run(Action::Fresh)) && !cli.command.confirmed() {
            targets::confirm_fresh(&targets)?;
        }
        let mut report = output::Report::default();
        for target in &targets {
            let migrator = self.migrator(&target.target);
            match work {
                Work::Run(action) => {
                    report.outcome(target, run(db, &target.target, migrator, action).await)?;
                }
                Work::Print(action) => {
                    report.sql(target, dry_run(db, &target.target, migrator, action).await)?;
                }
                Work::Status => report.status(target, state(db, &target.target, migrator).await),
                Work::List => report.list(target, state(db, &target.target, migrator).await),
            }
        }
        Ok(report.finish()?)
    }

    fn migrator(&self, target: &Target) -> &AnyMigrator {
        match target {
            Target::Registry => &self.registry,
            Target::Schema(_) => &self.tenant,
        }
    }
}
