//! The `tenantry` command of this application.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    api::app().main().await
}
