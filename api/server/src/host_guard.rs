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
    AllowedHost, MAX_BODY,
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
    /// Hosts that belong to no tenant.
    pub(crate) allowed_hosts: Arc<[AllowedHost]>,
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

/// A request on a host that is served.
struct Admitted {
    host: Host,
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
            let (origin, mut response) =
                match policy.admit(Target::from(&request), request.headers()).await {
                    Ok(Admitted { host, settings, origin }) => {
                        let response =
                            match policy.prepare(&mut request, &host, settings.as_deref(), &origin)
                            {
                                Some(answer) => answer,
                                None => {
                                    let name = Target::from(&request).host().map(str::to_owned);
                                    let response = inner.call(request).await?.map(Body::new);
                                    policy.hide(&host, &name.unwrap_or_default(), response)
                                }
                            };
                        (origin, response)
                    }
                    Err(error) => (None, error.into_response()),
                };
            cors::add_headers(origin, response.headers_mut());
            Ok(response)
        })
    }
}

impl HostPolicy {
    /// The host of a request and the settings of its tenant. Refuses a host that is not served.
    ///
    /// A subdomain of the base domain passes also if no tenant has the slug: a request without
    /// credentials is answered 401 in both cases.
    async fn admit(&self, target: Target<'_>, headers: &HeaderMap) -> Result<Admitted, ApiError> {
        let target = target.host()?;
        let host = self.tenancy.host(target);
        if matches!(host, Host::Base | Host::Reserved) || self.allows(target) {
            return Ok(Admitted { host, settings: None, origin: None });
        }
        use tenantry::Error as E;
        match self.tenancy.tenant_at(&host, target).await {
            Ok(tenant) => {
                let settings = tenant.http_settings();
                let origin = cors::allowed_origin(&settings, headers);
                Ok(Admitted { host, settings: Some(settings), origin })
            }
            Err(E::Unavailable(refused))
                if !matches!(host, Host::Slug(_)) && hides(&self.tenancy, &refused) =>
            {
                record(&refused.slug);
                Err(hidden_host(target, &refused))
            }
            // The handler's extractor says why.
            Err(E::Unavailable(_)) => Ok(Admitted { host, settings: None, origin: None }),
            Err(E::UnknownHost(_)) if matches!(host, Host::Slug(_)) => {
                Ok(Admitted { host, settings: None, origin: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Checks a request and limits the length of its body. Returns the answer if it does not go on.
    fn prepare(
        &self,
        request: &mut Request,
        host: &Host,
        settings: Option<&HttpSettings>,
        origin: &Option<HeaderValue>,
    ) -> Option<Response> {
        if let Some(origin) = origin
            && let Some(response) = cors::preflight(request, origin)
        {
            return Some(response);
        }
        match self.check(request, host, settings) {
            Ok(limit) => {
                DefaultBodyLimit::max(limit).apply(request);
                request.extensions_mut().insert(BodyLimit(limit));
                None
            }
            Err(problem) => Some(problem.into_response()),
        }
    }

    /// The answer to a request, unless it names a tenant that is hidden: one that a handler has asked
    /// for, or whose status has changed since the request was admitted. Operators see every tenant.
    fn hide(&self, host: &Host, name: &str, response: Response) -> Response {
        match response.extensions().get() {
            Some(Refusal { tenant, is_shown: true })
                if *host != Host::Base && hides(&self.tenancy, tenant) =>
            {
                hidden_host(name, tenant).into_response()
            }
            _ => response,
        }
    }

    /// Whether a host is served that belongs to no tenant.
    fn allows(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| allowed.is_named_by(host))
    }

    /// Checks the origin and the announced length of the body. Returns the maximum length.
    ///
    /// On hosts of tenants the length is checked after the caller
    /// ([`confirm_length`](crate::body::confirm_length)): strangers do not learn a tenant's limit, and
    /// so not whether it exists.
    fn check(
        &self,
        request: &Request,
        host: &Host,
        settings: Option<&HttpSettings>,
    ) -> Result<usize, Problem> {
        let is_allowed = |origin: &HeaderValue| settings.is_some_and(|it| cors::allows(it, origin));
        let name = Target::from(request).host()?;
        cross_origin::check(request.method(), request.headers(), name, is_allowed)?;
        let own = settings.and_then(|settings| settings.max_body_bytes);
        let own = own.map(|bytes| usize::try_from(bytes.get()).unwrap_or(usize::MAX));
        let limit = own.unwrap_or(MAX_BODY).min(self.max_body);
        let is_of_tenants = matches!(host, Host::Slug(_) | Host::Custom(_));
        // By its Content-Length, before the client sends the body.
        let is_long = request.body().size_hint().lower() > limit as u64;
        if is_long && !is_of_tenants && !transfer::is_import(request) {
            return Err(Problem::too_large(limit));
        }
        Ok(limit)
    }
}
