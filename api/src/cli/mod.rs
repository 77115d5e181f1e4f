//! The `tenantry` command.

mod accept;
mod activity;
mod args;
mod boot;
mod error;
mod files;
mod import;
mod linger;
mod read;
mod serve;
mod tenant;
mod token;
mod welcome;

use std::{io::Write, process::ExitCode};

use tracing_subscriber::EnvFilter;

pub use args::Cli;

use args::{Command, LogFormat, TenantCommand};
use error::Error;

/// Reads the command line, does what it says and tells how it went: 0 when all went well, 1 when
/// something failed, 2 when the command line is wrong, 130 when an import was stopped by Ctrl-C.
pub async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let (cli, command) = read::read(&words).unwrap_or_else(|error| error.exit());
    log_to_stderr(cli.log_format, matches!(command, Command::Serve(_)));
    let result = match command {
        Command::Serve(args) => serve::serve(&cli.tenancy, args).await.map(|()| ExitCode::SUCCESS),
        Command::Tenant { command: TenantCommand::Import(args) } => {
            import::run(&cli.tenancy, &args).await
        }
        Command::Tenant { command: TenantCommand::Single(command) } => {
            tenant::run(&cli.tenancy, command).await.map(|()| ExitCode::SUCCESS)
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
