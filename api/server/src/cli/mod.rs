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

use std::process::ExitCode;

use axum::Router;
use tenantry_migrate::{
    TenantMigrator,
    cli::terminal::{Log, print_error},
};
use tracing_subscriber::EnvFilter;

use crate::AppState;

pub use args::Cli;

use args::{Command, LogFormat, TenantCommand};
use error::Error;

/// An application, for the command.
#[derive(Debug)]
pub struct App<M> {
    /// Migrations of a tenant's schema.
    pub migrator: M,
    /// Routes of the application.
    pub routes: Router<AppState>,
    /// Example requests that `serve` prints if it has started a local PostgreSQL server.
    pub examples: Vec<Example>,
}

/// An example request with curl.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Path on a tenant's host.
    pub path: &'static str,
    /// Additional arguments of curl.
    pub arguments: &'static str,
}

/// Runs the command. Its exit status is 0 on success, 1 on failure, 2 if the command line is
/// invalid, 130 if an import was interrupted by Ctrl-C.
pub async fn main<M: TenantMigrator + Clone + 'static>(app: App<M>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let (cli, command) = parse::parse(&arguments).unwrap_or_else(|error| error.exit());
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
            print_error(error);
            ExitCode::FAILURE
        }
    }
}

/// By default a server logs each request, a command warnings only.
fn log_to_stderr(format: LogFormat, serves: bool) {
    let default = if serves { "info,sqlx=warn,sea_orm_migration=warn" } else { "warn" };
    // An empty variable counts as unset, as for options.
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    let filter = filter.unwrap_or_else(|| default.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
