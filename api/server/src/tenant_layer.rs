//! The tenant of a request as a tower layer, for services that use no extractor.

use axum::{extract::FromRequestParts, http::request::Parts};
use tenantry::{Tenancy, Tenant};
use tower::Layer;
use tracing::{Span, error, error_span, field::Empty};

use crate::{
    api_error::ApiError,
    checked::{Check, Checked},
    problem::Problem,
    tenant_source::TenantSource,
};

/// Resolves the tenant of each request before the service is called, puts the
/// [`Tenant`](tenantry::Tenant) into the request's extensions, and answers a request without one
/// with a problem document.
///
/// The tenant's slug is recorded in the field `tenant` of the current span; if it has no such field,
/// the service is called in a new span that has.
///
/// With an [`AuthLayer`](crate::AuthLayer) inside or outside this one, as in [`app`](crate::app), a
/// request is answered 403 if the tenant is not that of its caller. Put that layer outside: a request
/// without credentials is then answered 401 before its tenant is looked up. Inside, it is answered
/// 404 if there is no such tenant, so strangers learn which tenants exist. **Without that layer
/// every caller is admitted.**
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use tenantry_axum::{CurrentTenant, TenantLayer, TenantSource};
///
/// async fn name(CurrentTenant(tenant): CurrentTenant) -> String {
///     tenant.slug().to_string()
/// }
///
/// # async fn example(tenancy: tenantry::Tenancy) -> std::io::Result<()> {
/// let app: Router = Router::new()
///     .route("/name", get(name))
///     .layer(TenantLayer::new(tenancy, TenantSource::host()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TenantLayer {
    tenancy: Tenancy,
    source: TenantSource,
}

impl TenantLayer {
    /// Finds the tenants of `tenancy` by `source`.
    #[must_use]
    pub fn new(tenancy: Tenancy, source: TenantSource) -> Self {
        Self { tenancy, source }
    }
}

impl<S> Layer<S> for TenantLayer {
    type Service = Checked<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked { inner, check: self.clone() }
    }
}

impl Check for TenantLayer {
    async fn check(&self, parts: &mut Parts) -> Result<(), ApiError> {
        let tenant = self.source.resolve(&self.tenancy, parts).await?;
        parts.extensions.insert(tenant);
        Ok(())
    }

    fn span(&self) -> Span {
        match Span::current().has_field("tenant") {
            true => Span::none(),
            false => error_span!("tenant", tenant = Empty),
        }
    }
}

/// The tenant that a [`TenantLayer`] has found.
///
/// Without the layer around the route, the request is answered 500 and the handler is not called.
#[derive(Debug, Clone)]
pub struct CurrentTenant(pub Tenant);

impl<S: Send + Sync> FromRequestParts<S> for CurrentTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().map(Self).ok_or_else(|| {
            error!(
                path = parts.uri.path(),
                "the handler takes CurrentTenant, but there is no TenantLayer around its route"
            );
            Problem::internal().into()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use axum::{Router, body::Body, http::Request, routing::get};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn without_the_layer_the_handler_is_not_called_and_the_log_names_it() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let app: Router = Router::new().route("/name", get(|_: CurrentTenant| async { "called" }));
        let request = Request::get("/name").body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(app).call(request).await.unwrap();
        assert_eq!(answer.status(), 500);
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("ERROR") && log.contains("no TenantLayer around"), "{log}");
        assert!(log.contains("/name"), "{log}");
    }
}
