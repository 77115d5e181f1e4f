//! The `tenantry` command.

mod args;
mod boot;
mod error;
mod serve;
mod tenant;
mod welcome;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

pub use args::Cli;

use args::{Command, LogFormat};

/// Reads the command line, does what it says and tells how it went: 0 when all went well, 1 when
/// something failed, 2 when the command line is wrong.
pub async fn main() -> ExitCode {
    let (cli, command) = read_command_line();
    log_to_stderr(cli.log_format, matches!(command, Command::Serve(_)));
    let result = match command {
        Command::Serve(args) => serve::serve(&cli.tenancy, args).await,
        Command::Tenant { command } => tenant::run(&cli.tenancy, command).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done when standard error is gone as well.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Without a subcommand it is `serve`, with that command's own defaults and variables.
fn read_command_line() -> (Cli, Command) {
    let mut cli = Cli::parse();
    loop {
        match cli.command.take() {
            Some(command) => return (cli, command),
            None => cli = Cli::parse_from(std::env::args_os().chain(["serve".into()])),
        }
    }
}

/// A server tells each request, a command only what is wrong; `RUST_LOG` says otherwise.
fn log_to_stderr(format: LogFormat, serves: bool) {
    let usual = if serves { "info,sqlx=warn,sea_orm_migration=warn" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
