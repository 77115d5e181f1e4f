use axum::http::request::Parts;
use tenantry::Scope;
use tower::Layer;

use super::principal::caller;
use crate::{
    api_error::ApiError,
    checked::{Check, Checked},
};

/// A layer that asks for a scope in addition to that of the request's method: 403 without it.
///
/// ```no_run
/// use axum::{Router, routing::post};
/// use tenantry::Scope;
/// use tenantry_axum::{AppState, HostTenant, require};
///
/// async fn close_year(HostTenant(tenant): HostTenant) {
///     // …
/// }
///
/// fn routes() -> Router<AppState> {
///     Router::new().route("/years", post(close_year).layer(require(Scope::Admin)))
/// }
/// ```
///
/// Needs an [`AuthLayer`](crate::AuthLayer) around it, which [`app`](crate::app) has; without one
/// the request is answered 500.
#[must_use]
pub fn require(scope: Scope) -> RequireLayer {
    RequireLayer(scope)
}

/// The layer that [`require`] makes.
#[derive(Debug, Clone, Copy)]
pub struct RequireLayer(Scope);

impl<S> Layer<S> for RequireLayer {
    type Service = Checked<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked { inner, check: *self }
    }
}

impl Check for RequireLayer {
    async fn check(&self, parts: &mut Parts) -> Result<(), ApiError> {
        Ok(caller(parts)?.confirm_scope(self.0)?)
    }
}
