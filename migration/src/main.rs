//! The `migration` command of this workspace.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    migration::cli::main(migration::tenant::Migrator).await
}
