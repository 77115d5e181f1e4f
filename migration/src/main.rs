//! The `migration` command of this application.

use std::process::ExitCode;

use tenantry_migrate::cli::MigrationCommand;

#[tokio::main]
async fn main() -> ExitCode {
    MigrationCommand::new(migration::Migrator).application("tenantry").main().await
}
