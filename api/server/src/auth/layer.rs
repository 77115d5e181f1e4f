use axum::http::request::Parts;
use tower::Layer;

use super::Access;
use crate::{
    api_error::ApiError,
    body::confirm_length,
    checked::{Check, Checked},
};

/// Asks for the caller of each request before the service is called, and puts the
/// [`Principal`](crate::Principal) into the request's extensions.
///
/// A caller needs the scope `read` for requests that change nothing (`GET`, `HEAD`, `OPTIONS`) and
/// `write` for others, also for the handshake of a WebSocket. Answers 401 without valid credentials, 403 without the scope or if the
/// request's tenant is not that of the caller: on the tenant's host, by
/// [`HostTenant`](crate::HostTenant), and by a [`TenantLayer`](crate::TenantLayer) on either side. Put that layer inside this one: outside, it
/// answers callers without credentials, too, who then learn which tenants exist.
///
/// [`app`](crate::app) has this layer. A router without `app` adds it; **without
/// the layer every caller is admitted**: every client that can name a tenant's host uses the tenant.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use tenantry::Tenancy;
/// use tenantry_axum::{Access, AuthLayer, Authenticate, HostTenant};
///
/// async fn name(HostTenant(tenant): HostTenant) -> String {
///     tenant.slug().to_string()
/// }
///
/// fn app(tenancy: Tenancy, users: impl Authenticate) -> Router {
///     let access = Access::new(tenancy.clone(), users);
///     Router::new().route("/name", get(name)).layer(AuthLayer::new(access)).with_state(tenancy)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct AuthLayer(Access);

impl AuthLayer {
    /// Finds the callers by `access`.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self(access)
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Checked<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked { inner, check: self.clone() }
    }
}

impl Check for AuthLayer {
    async fn check(&self, parts: &mut Parts) -> Result<(), ApiError> {
        self.0.admit(parts).await?;
        Ok(confirm_length(parts)?)
    }
}
