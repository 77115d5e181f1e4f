//! The `tenantry` command of this application.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tenantry_axum::cli::main(api::app()).await
}
