//! The `library` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    library::app().main().await
}
