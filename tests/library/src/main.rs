//! The `library` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tenantry_axum::cli::main(library::app()).await
}
