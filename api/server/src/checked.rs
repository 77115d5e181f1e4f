//! The tower service of the layers that check a request before it is served.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    http::{Request, Response, request::Parts},
    response::IntoResponse,
};
use tower::Service;
use tracing::{Instrument, Span};

use crate::api_error::ApiError;

/// A check of a request's head.
pub trait Check: Clone + Send + Sync + 'static {
    /// Puts what it finds into the extensions of the request, or returns the answer in place of the
    /// service.
    fn check(&self, parts: &mut Parts) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Span of the check and of the service.
    fn span(&self) -> Span {
        Span::none()
    }
}

/// A service that is called with the requests that a check admits.
#[derive(Debug, Clone)]
pub struct Checked<S, C> {
    pub(crate) inner: S,
    pub(crate) check: C,
}

impl<S, C, B, R> Service<Request<B>> for Checked<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    C: Check,
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
        let check = self.check.clone();
        let span = check.span();
        let answer = async move {
            let (mut parts, body) = request.into_parts();
            match check.check(&mut parts).await {
                Ok(()) => {
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(response.map(Body::new))
                }
                Err(error) => Ok(error.into_response()),
            }
        };
        Box::pin(answer.instrument(span))
    }
}
