//! HTTP API of the application: its routes, and the `tenantry` command.

mod error;
mod routes;

use axum::Router;
use tenantry_axum::{
    AppState,
    cli::{App, Example},
};

pub use error::Error;

/// The whole API.
pub fn router(state: AppState) -> Router {
    tenantry_axum::app(state, routes::routes())
}

/// The application, for the `tenantry` command.
#[must_use]
pub fn app() -> App<migration::Migrator> {
    const ABU: &str =
        r#"-H 'content-type: application/json' -d '{"name":"Abu","position":"Guard"}'"#;
    let example = |arguments| Example { path: "/guards", arguments };
    App {
        migrator: migration::Migrator,
        routes: routes::routes(),
        examples: vec![example(ABU), example("")],
    }
}
