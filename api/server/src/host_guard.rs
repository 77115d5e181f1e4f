//! Checks of a request's host and origin, before any route sees the request.
//!
//! A page on the web can make a browser send requests to a server that only this machine or this
//! network reaches: the page's host name is resolved to the server's address (DNS rebinding). Such a
//! request has the page's host name. So only hosts that belong to this service reach a route: the
//! base domain, its subdomains, the domains of tenants, and the names that are configured.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderMap, HeaderValue},
    response::{IntoResponse, Response},
};
use tenantry::{Host, HttpSettings, Tenancy};
use tower::Service;

use crate::{
    MAX_BODY,
    api_error::{ApiError, Refusal},
    cors, cross_origin, health,
    host::record,
    problem::Problem,
    target::Target,
    transfer,
    unavailable::{hidden_host, hides},
};

/// Which hosts are served, and how long their bodies may be.
pub(crate) struct HostPolicy {
    pub(crate) tenancy: Tenancy,
    /// Hosts that belong to no tenant, in lower case.
    pub(crate) allowed_hosts: Arc<[String]>,
    /// Maximum length of a body, also for a tenant that allows more.
    pub(crate) max_body: usize,
}

/// The service that applies a [`HostPolicy`].
#[derive(Clone)]
pub(crate) struct HostGuard<S> {
    pub(crate) inner: S,
    pub(crate) policy: Arc<HostPolicy>,
}

/// Maximum length of a request's body, a request extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// A request that may go on.
#[derive(Default)]
struct Admitted {
    /// Of the tenant of the host, if it is available.
    settings: Option<Arc<HttpSettings>>,
    /// The request's origin, if the tenant allows it.
    origin: Option<HeaderValue>,
}

impl<S, B> Service<Request> for HostGuard<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // The service that was ready is called, not its clone.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let route = request.extensions().get::<MatchedPath>();
            // Probes name an address, if anything.
            if route.is_some_and(|route| route.as_str() == health::PATH) {
                return Ok(inner.call(request).await?.map(Body::new));
            }
            let Admitted { settings, origin } = match policy.admit(&mut request).await {
                Ok(admitted) => admitted,
                Err(answer) => return Ok(*answer),
            };
            let Some(settings) = settings else {
                return Ok(inner.call(request).await?.map(Body::new));
            };
            let host = Target::from(&request).host().map(str::to_owned).unwrap_or_default();
            let mut response = inner.call(request).await?.map(Body::new);
            if let Some(Refusal(refused)) = response.extensions().get()
                && hides(&policy.tenancy, refused)
            {
                // Since the request was admitted.
                return Ok(hidden_host(&host, refused).into_response());
            }
            cors::add_headers(&settings, origin, response.headers_mut());
            Ok(response)
        })
    }
}

impl HostPolicy {
    /// Checks a request, and limits the length of its body. Otherwise returns the answer.
    async fn admit(&self, request: &mut Request) -> Result<Admitted, Box<Response>> {
        let answer = |error: ApiError| Box::new(error.into_response());
        let admitted =
            self.find(Target::from(&*request), request.headers()).await.map_err(answer)?;
        if let Some(origin) = &admitted.origin
            && let Some(response) = cors::preflight(request, origin)
        {
            return Err(Box::new(response));
        }
        let settings = admitted.settings.as_deref();
        match self.check(request, settings) {
            Ok(limit) => {
                DefaultBodyLimit::max(limit).apply(request);
                request.extensions_mut().insert(BodyLimit(limit));
                Ok(admitted)
            }
            Err(problem) => {
                let mut response = problem.into_response();
                if let Some(settings) = settings {
                    cors::add_headers(settings, admitted.origin, response.headers_mut());
                }
                Err(Box::new(response))
            }
        }
    }

    /// The settings of the host's tenant. Refuses a host that is not served.
    ///
    /// A subdomain of the base domain passes also if no tenant has the slug: a request without
    /// credentials is answered 401 in both cases.
    async fn find(&self, target: Target<'_>, headers: &HeaderMap) -> Result<Admitted, ApiError> {
        let target = target.host()?;
        let host = self.tenancy.host(target);
        if matches!(host, Host::Base | Host::Reserved) || self.allows(target) {
            return Ok(Admitted::default());
        }
        match self.tenancy.tenant_at(&host, target).await {
            Ok(tenant) => {
                let settings = tenant.http_settings();
                let origin = cors::allowed_origin(&settings, headers);
                Ok(Admitted { settings: Some(settings), origin })
            }
            Err(_) if matches!(host, Host::Slug(_)) => Ok(Admitted::default()),
            Err(tenantry::Error::Unavailable(refused)) if hides(&self.tenancy, &refused) => {
                record(&refused.slug);
                Err(hidden_host(target, &refused))
            }
            // The handler's extractor says why.
            Err(tenantry::Error::Unavailable(_)) => Ok(Admitted::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a host is served that belongs to no tenant.
    fn allows(&self, host: &str) -> bool {
        let name = crate::target::name(host);
        self.allowed_hosts.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
    }

    /// Checks the origin and the announced length of the body. Returns the maximum length.
    fn check(&self, request: &Request, settings: Option<&HttpSettings>) -> Result<usize, Problem> {
        let is_allowed = |origin: &HeaderValue| settings.is_some_and(|it| cors::allows(it, origin));
        let host = Target::from(request).host()?;
        cross_origin::check(request.method(), request.headers(), host, is_allowed)?;
        let own = settings.and_then(|settings| settings.max_body_bytes);
        let own = own.map(|bytes| usize::try_from(bytes.get()).unwrap_or(usize::MAX));
        let limit = own.unwrap_or(MAX_BODY).min(self.max_body);
        // By its Content-Length, before the client sends the body.
        let is_long = request.body().size_hint().lower() > limit as u64;
        if is_long && !transfer::is_import(request) {
            return Err(Problem::too_large(limit));
        }
        Ok(limit)
    }
}
