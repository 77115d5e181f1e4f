//! The `tenantry` command, for any application.

mod admin_token;
mod args;
mod banner;
mod connect;
mod error;
mod files;
mod import;
mod parse;
mod serve;
mod tenant;

use std::{io::Write, process::ExitCode};

use axum::Router;
use tenantry_migrate::TenantMigrator;
use tracing_subscriber::EnvFilter;

use crate::AppState;

pub use args::Cli;

use args::{Command, LogFormat, TenantCommand};
use error::Error;

/// What an application gives to the command.
#[derive(Debug)]
pub struct App<M> {
    /// Migrations of a tenant's schema.
    pub migrator: M,
    /// Routes of the application.
    pub routes: Router<AppState>,
    /// Requests to try, which `serve` prints when it has a PostgreSQL server of its own.
    pub examples: Vec<Example>,
}

/// A request with curl.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Path on a tenant's host.
    pub path: &'static str,
    /// Further arguments of curl.
    pub arguments: &'static str,
}

/// Reads the command line, does what it says and tells how it went: 0 when all went well, 1 when
/// something failed, 2 when the command line is wrong, 130 when an import was stopped by Ctrl-C.
pub async fn main<M: TenantMigrator + Clone + 'static>(app: App<M>) -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let (cli, command) = parse::parse(&words).unwrap_or_else(|error| error.exit());
    log_to_stderr(cli.log_format, matches!(command, Command::Serve(_)));
    let result = match command {
        Command::Serve(args) => {
            serve::serve(&cli.tenancy, args, app).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Tenant { command: TenantCommand::Import(args) } => {
            import::run(&cli.tenancy, &args, &app.migrator).await
        }
        Command::Tenant { command: TenantCommand::Single(command) } => {
            tenant::run(&cli.tenancy, command, &app.migrator).await.map(|()| ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(Error::CommandLine(error)) => error.exit(),
        Err(error) => {
            // Nothing can be done when standard error is gone as well.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A server tells each request, a command only what is wrong; `RUST_LOG` says otherwise.
fn log_to_stderr(format: LogFormat, serves: bool) {
    let usual = if serves { "info,sqlx=warn,sea_orm_migration=warn" } else { "warn" };
    // A variable that is empty counts as unset here, too.
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    let filter = filter.unwrap_or_else(|| usual.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
