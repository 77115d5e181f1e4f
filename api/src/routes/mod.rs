//! Paths of the application, one file per noun.

mod guards;
mod shifts;

use axum::{Router, handler::Handler, routing::get};
use tenantry_axum::{AppState, compressed};

/// All routes of the application.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/guards", get(guards::list.layer(compressed())).post(guards::create))
        .route("/guards/{id}", get(guards::show).patch(guards::update).delete(guards::delete))
        .route(
            "/guards/{id}/shifts",
            get(shifts::list_of_guard.layer(compressed())).post(shifts::create),
        )
        .route("/shifts", get(shifts::list.layer(compressed())))
        .route("/shifts/{id}", get(shifts::show).patch(shifts::update).delete(shifts::delete))
}
