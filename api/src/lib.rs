//! HTTP API of the application: its routes, and its command `tenantry`.

mod error;
mod routes;

use axum::Router;
use tenantry_axum::{AppState, cli::App};

pub use error::Error;

/// The whole API.
pub fn router(state: AppState) -> Router {
    tenantry_axum::app(state, routes::routes())
}

/// The command `tenantry`.
#[must_use]
pub fn app() -> App {
    const ABU: &str =
        r#"-H 'content-type: application/json' -d '{"name":"Abu","position":"Guard"}'"#;
    App::new(migration::Migrator)
        .name("tenantry")
        .version(migration::VERSION)
        .about(
            "Serve the guards and shifts of each tenant, and manage the tenants and their schemas",
        )
        .routes(routes::routes())
        .example("/guards", ABU)
        .example("/guards", "")
}
