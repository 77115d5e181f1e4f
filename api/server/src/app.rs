//! The router of an application.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    routing::{get, post},
};
use tower::layer::layer_fn;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::SizeAbove},
};

use crate::{
    AppState, AuthLayer, DEADLINE, audit, doctor,
    gate::Gate,
    health,
    host_guard::{HostGuard, HostPolicy},
    keys, nodes,
    problem::Problem,
    security_headers::SecurityHeaders,
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
///
/// Only hosts of this service reach a route: the base domain, its subdomains, the domains of tenants
/// and [allowed ones](AppState::allow_hosts). All others are answered as a host without a tenant. A
/// request that may change something is refused if a page of another origin sent it, unless the
/// tenant [allows the origin](tenantry::HttpSettings::cors_origins). Every answer has the headers
/// that make browsers careful, among them `Cache-Control: no-store` and a
/// `Content-Security-Policy` that allows nothing, where the handler has not set its own.
pub fn app(state: AppState, routes: Router<AppState>) -> Router {
    let gate = Gate::new(state.max_requests);
    let headers = SecurityHeaders::new(state.hsts);
    let trace = layer_fn(move |inner| {
        let (gate, headers) = (gate.clone(), headers.clone());
        Trace { inner, deadline: DEADLINE, gate, headers }
    });
    let policy = Arc::new(HostPolicy {
        tenancy: state.tenancy.clone(),
        allowed_hosts: state.allowed_hosts.clone(),
        max_body: state.max_body,
    });
    let guard = layer_fn(move |inner| HostGuard { inner, policy: Arc::clone(&policy) });
    let method_not_allowed = || async { Problem::method_not_allowed() };
    // Around the application's routes only: the admin API asks for an operator. Also around their
    // answers to other methods.
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .layer(AuthLayer::new(state.access.clone()))
        .route("/admin/tenants", get(tenants::list.layer(compressed())).post(tenants::create))
        .route(
            "/admin/tenants/{slug}",
            get(tenants::show).patch(tenants::update).delete(tenants::drop),
        )
        .merge(tenant_lifecycle::routes())
        .route("/admin/keys", get(keys::list.layer(compressed())).post(keys::create))
        .route("/admin/keys/{id}", get(keys::show).delete(keys::revoke))
        .route("/admin/audit", get(audit::list.layer(compressed())))
        .route("/admin/doctor", get(doctor::show))
        .route("/admin/doctor/fix", post(doctor::fix))
        .route("/admin/nodes", get(nodes::list))
        .route(nodes::MOVE, post(nodes::move_tenant))
        .route(transfer::IMPORT, post(transfer::import))
        .route(transfer::CLONE, post(transfer::clone))
        .route(transfer::EXPORT, get(transfer::export))
        .route(health::PATH, get(health::show))
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(method_not_allowed)
        .layer((trace, guard, CatchPanicLayer::custom(handle_panic)))
        .with_state(state)
}
