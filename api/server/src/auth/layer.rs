use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    http::{Request, Response},
    response::IntoResponse,
};
use tower::{Layer, Service};

use super::Access;

/// Asks for the caller of each request before the service is called, and puts the
/// [`Principal`](crate::Principal) into the request's extensions.
///
/// A caller needs the scope `read` for requests that change nothing (`GET`, `HEAD`, `OPTIONS`) and
/// `write` for others. Answers 401 without valid credentials, 403 without the scope or if the
/// request's tenant is not that of the caller: on the tenant's host, by
/// [`HostTenant`](crate::HostTenant), and by a [`TenantLayer`](crate::TenantLayer) on either side.
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
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService { inner, access: self.0.clone() }
    }
}

/// The service that an [`AuthLayer`] makes.
#[derive(Debug, Clone)]
pub struct AuthService<S> {
    inner: S,
    access: Access,
}

impl<S, B, R> Service<Request<B>> for AuthService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was ready is called, not its clone.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let access = self.access.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match access.admit(&mut parts).await {
                Ok(()) => {
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(response.map(Body::new))
                }
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}
