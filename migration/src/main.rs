//! The `migration` command of this application.

use std::process::ExitCode;

use tenantry_migrate::cli::MigrationCommand;

#[tokio::main]
async fn main() -> ExitCode {
    let command = MigrationCommand::new(migration::Migrator).application("tenantry");
    command.version(migration::VERSION).main().await
}
