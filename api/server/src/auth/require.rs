use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    http::{Request, Response},
    response::IntoResponse,
};
use tenantry::Scope;
use tower::{Layer, Service};

use super::principal::caller;

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
    type Service = RequireService<S>;

    fn layer(&self, inner: S) -> RequireService<S> {
        RequireService { inner, scope: self.0 }
    }
}

/// The service that a [`RequireLayer`] makes.
#[derive(Debug, Clone)]
pub struct RequireService<S> {
    inner: S,
    scope: Scope,
}

impl<S, B, R> Service<Request<B>> for RequireService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match caller(&parts).and_then(|caller| caller.confirm_scope(self.scope)) {
            Ok(()) => {
                let answer = self.inner.call(Request::from_parts(parts, body));
                Box::pin(async { Ok(answer.await?.map(Body::new)) })
            }
            Err(problem) => Box::pin(async { Ok(problem.into_response()) }),
        }
    }
}
