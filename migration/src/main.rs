//! The `migration` command of this application.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tenantry_migrate::cli::main(migration::Migrator).await
}
