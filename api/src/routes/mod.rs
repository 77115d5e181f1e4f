//! The paths of the API, one file per noun.

mod guards;
mod health;
mod page;
mod shifts;
mod tenants;

use axum::{Router, extract::DefaultBodyLimit, handler::Handler, routing::get};
use tower::layer::layer_fn;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::SizeAbove},
};

use crate::{
    DEADLINE, MAX_BODY, State,
    gate::Gate,
    problem::Problem,
    trace::{Trace, panicked},
};

/// Bytes from which on an answer is compressed: below, it fits into a packet or two anyway.
const COMPRESSED_FROM: u64 = 1024;

/// Path of the state of the service.
pub(crate) const HEALTH: &str = "/health";

/// The whole API.
pub fn router(state: State) -> Router {
    // Only lists grow long.
    let compressed = || CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_FROM));
    let gate = Gate::new(state.max_requests);
    let trace = layer_fn(move |inner| Trace { inner, deadline: DEADLINE, gate: gate.clone() });
    Router::new()
        .route("/guards", get(guards::list.layer(compressed())).post(guards::create))
        .route("/guards/{id}", get(guards::show).patch(guards::update).delete(guards::delete))
        .route(
            "/guards/{id}/shifts",
            get(shifts::list_of_guard.layer(compressed())).post(shifts::create),
        )
        .route("/shifts", get(shifts::list.layer(compressed())))
        .route("/shifts/{id}", get(shifts::show).patch(shifts::update).delete(shifts::delete))
        .route("/admin/tenants", get(tenants::list.layer(compressed())).post(tenants::create))
        .route("/admin/tenants/{slug}", get(tenants::show).delete(tenants::drop))
        .route(HEALTH, get(health::show))
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer((trace, CatchPanicLayer::custom(panicked), DefaultBodyLimit::max(MAX_BODY)))
        .with_state(state)
}
