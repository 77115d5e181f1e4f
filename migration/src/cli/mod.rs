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
mod check;
mod generate;
mod output;
mod table;
mod targets;
mod verify;

use std::{
    convert::Infallible,
    io::IsTerminal,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Parser;
use sea_orm::DatabaseConnection;

pub use args::Cli;
use args::{Command, Work};
pub use table::table;

use targets::Named;

use crate::{
    Action, AnyMigrator, Event, Fleet, Target, TenantMigrator, Who, dry_run, registry, run,
    run_fleet, state,
};

/// Reads the command line, does what it says and tells how it went: 0 when all went well, 1 when
/// something failed (each failure is named), 2 when the command line is wrong.
pub async fn main<M: TenantMigrator + 'static>(tenant_migrator: M) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    let runner = Runner {
        tenant: AnyMigrator::tenant(tenant_migrator),
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
        match &cli.command {
            Command::Verify(args) => return verify::run(args, &cli.database, &self.tenant).await,
            Command::Check(args) => return check::run(args, &cli.database, &self.tenant).await,
            Command::Generate(args) => return generate::run(args),
            _ => {}
        }
        let Some((targets, work)) = cli.command.work() else { return Ok(ExitCode::SUCCESS) };
        if targets.is_empty() {
            output::names(&self.tenant)?;
            return Ok(ExitCode::SUCCESS);
        }
        let connections = match &work {
            Work::Run(_, fleet) => fleet.jobs + 1,
            _ => 1,
        };
        let database = cli.database.connect(connections as u32).await?;
        let db = &database.connection;
        let targets = targets::resolve(db, targets).await?;
        if matches!(work, Work::Run(Action::Fresh, _)) && !cli.command.confirmed() {
            targets::confirm_fresh(&targets)?;
        }
        let mut report = output::Report::default();
        if let Work::Run(action, fleet) = &work {
            let stopped = self.run(db, &targets, action, fleet, &mut report).await;
            database.connection.close_by_ref().await?;
            let code = report.finish()?;
            return Ok(if stopped { ExitCode::from(INTERRUPTED) } else { code });
        }
        for target in &targets {
            let migrator = self.migrator(&target.target);
            match &work {
                Work::Print(action) => {
                    report.sql(target, dry_run(db, &target.target, migrator, action).await)?;
                }
                Work::List => report.list(target, state(db, &target.target, migrator).await),
                _ => report.status(target, state(db, &target.target, migrator).await),
            }
        }
        database.connection.close_by_ref().await?;
        Ok(report.finish()?)
    }

    /// Whether the run was stopped by Ctrl-C, of which the first finishes what is in hand.
    async fn run(
        &self,
        db: &DatabaseConnection,
        targets: &[Named],
        action: &Action,
        fleet: &Fleet,
        report: &mut output::Report,
    ) -> bool {
        let Some(first) = targets.first() else { return false };
        let migrator = self.migrator(&first.target);
        if first.member.is_none() {
            let result = run(db, &first.target, migrator, action, fleet.timeouts).await;
            report.outcome(first, result.as_ref());
            return false;
        }
        let stop = AtomicBool::new(false);
        let shared = Mutex::new(report);
        let who = Who::These(targets.iter().filter_map(|named| named.member.clone()).collect());
        let tell = |event: &Event<'_>| {
            let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (member, result) = match event {
                Event::Planned { .. } => return,
                Event::Done { member, outcome, .. } => (member, Ok(*outcome)),
                Event::Failed { member, error } => (member, Err(*error)),
            };
            if let Some(named) = targets.iter().find(|named| named.member.as_ref() == Some(member))
            {
                report.outcome(named, result);
            }
        };
        let running = run_fleet(db, migrator, &who, action, fleet, &stop, tell);
        let summary = tokio::select! {
            summary = running => summary,
            never = interrupted(&stop) => match never {},
        };
        let report = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.left = summary.map(|summary| summary.left).unwrap_or_default();
        stop.load(Ordering::SeqCst)
    }

    fn migrator(&self, target: &Target) -> &AnyMigrator {
        match target {
            Target::Registry => &self.registry,
            Target::Schema(_) => &self.tenant,
        }
    }
}

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Sets `stop` at the first Ctrl-C and ends the program at the second.
async fn interrupted(stop: &AtomicBool) -> Infallible {
    loop {
        // Without a handler Ctrl-C ends the program, which loses nothing either.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
        output::failure(&"stopping: finishing what is in hand; once more to end at once");
    }
}
