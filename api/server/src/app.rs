//! The router of an application.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    routing::{delete, get, post},
};
use tower::layer::layer_fn;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::SizeAbove},
};

use crate::{
    AppState, AuthLayer, DEADLINE, MAX_BODY, audit, doctor,
    gate::Gate,
    health, keys,
    problem::Problem,
    tenant_lifecycle, tenants,
    trace::{Trace, handle_panic},
    transfer,
};

/// Minimum length of a compressed answer, in bytes. A shorter one fits into a packet or two.
const COMPRESSED_FROM: u64 = 1024;

/// Compresses the answers of a route, except short ones.
#[must_use]
pub fn compressed() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_FROM))
}

/// An application's routes with the admin API, `/health`, limits and the request log.
///
/// The routes are answered for callers that the state's [`Access`](crate::Access) admits
/// ([`AuthLayer`]). Without credentials they are answered 401, unless the state is
/// [`anonymous`](AppState::anonymous).
pub fn app(state: AppState, routes: Router<AppState>) -> Router {
    let gate = Gate::new(state.max_requests);
    let trace = layer_fn(move |inner| Trace { inner, deadline: DEADLINE, gate: gate.clone() });
    // Around the application's routes only: the admin API asks for an operator.
    routes
        .layer(AuthLayer::new(state.access.clone()))
        .route("/admin/tenants", get(tenants::list.layer(compressed())).post(tenants::create))
        .route(
            transfer::TENANT,
            get(tenants::show).patch(tenants::update).delete(tenants::drop).post(transfer::import),
        )
        .merge(tenant_lifecycle::routes())
        .route("/admin/keys", get(keys::list.layer(compressed())).post(keys::create))
        .route("/admin/keys/{id}", delete(keys::revoke))
        .route("/admin/audit", get(audit::list.layer(compressed())))
        .route("/admin/doctor", get(doctor::show))
        .route(transfer::CLONE, post(transfer::clone))
        .route(transfer::EXPORT, get(transfer::export))
        .route(health::PATH, get(health::show))
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer((trace, CatchPanicLayer::custom(handle_panic), DefaultBodyLimit::max(MAX_BODY)))
        .with_state(state)
}
