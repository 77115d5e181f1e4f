//! The paths of the API, one file per noun.

mod guards;
mod health;
mod page;
mod shifts;
mod tenants;

use axum::{
    Router, extract::DefaultBodyLimit, http::HeaderName, middleware::from_fn, routing::get,
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

use crate::{
    MAX_BODY, State,
    problem::Problem,
    trace::{REQUEST_ID, panicked, screen_request_id, trace},
};

/// The whole API.
pub fn router(state: State) -> Router {
    let request_id = HeaderName::from_static(REQUEST_ID);
    Router::new()
        .route("/guards", get(guards::list).post(guards::create))
        .route("/guards/{id}", get(guards::show).patch(guards::update).delete(guards::delete))
        .route("/guards/{id}/shifts", get(shifts::list_of_guard).post(shifts::create))
        .route("/shifts", get(shifts::list))
        .route("/shifts/{id}", get(shifts::show).patch(shifts::update).delete(shifts::delete))
        .route("/admin/tenants", get(tenants::list).post(tenants::create))
        .route("/admin/tenants/{slug}", get(tenants::show).delete(tenants::drop))
        .route("/health", get(health::show))
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(trace))
        .layer(PropagateRequestIdLayer::new(request_id.clone()))
        .layer(SetRequestIdLayer::new(request_id, MakeRequestUuid))
        .layer(from_fn(screen_request_id))
        .with_state(state)
}
