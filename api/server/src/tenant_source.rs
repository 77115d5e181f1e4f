use std::{fmt, future::Future, pin::Pin, sync::Arc};

use axum::http::{
    HeaderName, StatusCode, Uri,
    request::Parts,
    uri::{InvalidUriParts, PathAndQuery},
};
use tenantry::{Slug, Tenancy, Tenant, TenantId};

use crate::{
    api_error::ApiError,
    auth::{Principal, admit_found},
    host::{record, tenant_of_host},
    problem::Problem,
    unavailable::hides,
};

/// Where a [`TenantLayer`](crate::TenantLayer) finds the tenant of a request.
#[derive(Clone)]
pub struct TenantSource(Kind);

#[derive(Clone)]
enum Kind {
    Host,
    /// Empty, or begins with a slash and does not end with one.
    PathPrefix(Arc<str>),
    Header(HeaderName),
    Function(Arc<Function>),
}

type Function = dyn Fn(Parts) -> Pin<Box<dyn Future<Output = Found> + Send>> + Send + Sync;

type Found = Result<TenantKey, ApiError>;

/// What an application's function finds: a tenant, or its name.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TenantKey {
    /// The tenant with this slug.
    Slug(Slug),
    /// The tenant with this id.
    Id(TenantId),
    /// A tenant that the function has resolved.
    Tenant(Tenant),
}

impl From<Slug> for TenantKey {
    fn from(slug: Slug) -> Self {
        Self::Slug(slug)
    }
}

impl From<TenantId> for TenantKey {
    fn from(id: TenantId) -> Self {
        Self::Id(id)
    }
}

impl From<Tenant> for TenantKey {
    fn from(tenant: Tenant) -> Self {
        Self::Tenant(tenant)
    }
}

impl TenantSource {
    /// The request's host: a subdomain of the base domain, or a domain of the tenant. The same as
    /// [`HostTenant`](crate::HostTenant), with the same answers.
    #[must_use]
    pub fn host() -> Self {
        Self(Kind::Host)
    }

    /// The segment of the path after `prefix`: with `/t`, the path `/t/acme/guards` is that of
    /// `/guards` of the tenant `acme`. Prefix and slug are removed from the path, so that the routes
    /// below do not mention them; links that these routes make have to contain them. With an empty
    /// prefix the slug is the first segment.
    ///
    /// Routes are chosen by the path, so the layer must be outside the router that has them:
    ///
    /// ```no_run
    /// # use axum::{Router, routing::get};
    /// # use tenantry::Tenancy;
    /// use tenantry_axum::{CurrentTenant, TenantLayer, TenantSource};
    /// use tower::Layer;
    ///
    /// async fn name(CurrentTenant(tenant): CurrentTenant) -> String {
    ///     tenant.slug().to_string()
    /// }
    ///
    /// # fn app(tenancy: Tenancy) -> Router {
    /// let routes = Router::new().route("/name", get(name));
    /// // axum removes `/t`, the layer the slug after it.
    /// let tenants = TenantLayer::new(tenancy, TenantSource::path_prefix("")).layer(routes);
    /// Router::new().nest_service("/t", tenants)
    /// # }
    /// ```
    ///
    /// A path without a slug is answered 404.
    #[must_use]
    pub fn path_prefix(prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        Self(Kind::PathPrefix(format!("{slash}{prefix}").into()))
    }

    /// A header with the slug. A request without the header, or with more than one, is answered
    /// 400.
    ///
    /// Only behind a proxy that sets the header itself and removes the one that a client has sent:
    /// every client that can send the header chooses its tenant.
    #[must_use]
    pub fn header(name: HeaderName) -> Self {
        Self(Kind::Header(name))
    }

    /// A function of the application that finds the tenant by a request without its body, such as
    /// by a claim of its token. The function gets a copy and may query a database. Its error is the
    /// answer to the request.
    ///
    /// ```
    /// use axum::http::request::Parts;
    /// use tenantry::Slug;
    /// use tenantry_axum::{ApiError, Problem, TenantSource};
    ///
    /// async fn of_port(parts: Parts) -> Result<Slug, ApiError> {
    ///     match parts.uri.port_u16() {
    ///         Some(8443) => Ok("acme".parse()?),
    ///         _ => Err(Problem::malformed("no tenant has this port").into()),
    ///     }
    /// }
    ///
    /// let source = TenantSource::function(of_port);
    /// ```
    pub fn function<F, R, K, E>(find: F) -> Self
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<K, E>> + Send + 'static,
        K: Into<TenantKey>,
        E: Into<ApiError>,
    {
        Self(Kind::Function(Arc::new(move |parts| {
            let found = find(parts);
            Box::pin(async move { found.await.map(Into::into).map_err(Into::into) })
        })))
    }

    /// The tenant of a request, whose path is then that of the routes.
    pub(crate) async fn resolve(
        &self,
        tenancy: &Tenancy,
        parts: &mut Parts,
    ) -> Result<Tenant, ApiError> {
        match &self.0 {
            Kind::Host => tenant_of_host(tenancy, parts).await,
            Kind::PathPrefix(prefix) => {
                let (slug, uri) = split(&parts.uri, prefix)?;
                let tenant = tenant_of_slug(tenancy, parts, &slug).await?;
                parts.uri = uri;
                Ok(tenant)
            }
            Kind::Header(name) => tenant_of_slug(tenancy, parts, &header(parts, name)?).await,
            Kind::Function(find) => match find(parts.clone()).await? {
                TenantKey::Slug(slug) => tenant_of_slug(tenancy, parts, &slug).await,
                TenantKey::Id(id) => found(tenancy, parts, id, tenancy.tenant_by_id(id).await),
                TenantKey::Tenant(tenant) => found(tenancy, parts, tenant.id(), Ok(tenant)),
            },
        }
    }
}

impl fmt::Debug for TenantSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Host => "TenantSource::host",
            Kind::PathPrefix(_) => "TenantSource::path_prefix",
            Kind::Header(_) => "TenantSource::header",
            Kind::Function(_) => "TenantSource::function",
        })
    }
}

/// Records a tenant that was not looked up by its slug, also if it is not available.
fn found(
    tenancy: &Tenancy,
    parts: &Parts,
    id: TenantId,
    tenant: Result<Tenant, tenantry::Error>,
) -> Result<Tenant, ApiError> {
    match &tenant {
        Ok(tenant) => record(tenant.slug()),
        Err(tenantry::Error::Unavailable(refused)) => record(&refused.slug),
        Err(_) => {}
    }
    admit_found(tenancy, parts, tenant, || tenantry::Error::UnknownTenantId(id))
}

async fn tenant_of_slug(tenancy: &Tenancy, parts: &Parts, slug: &Slug) -> Result<Tenant, ApiError> {
    record(slug);
    let principal = parts.extensions.get::<Principal>();
    let is_nobody = principal.is_none_or(Principal::is_anonymous);
    match tenancy.tenant(slug).await {
        Err(tenantry::Error::UnknownTenant(slug)) if is_nobody => {
            Err(no_tenant(slug.as_str()).into())
        }
        Err(tenantry::Error::Unavailable(refused)) if is_nobody && hides(tenancy, &refused) => {
            Err(ApiError::from(no_tenant(slug.as_str())).about(refused))
        }
        other => {
            let unknown = || tenantry::Error::UnknownTenant(slug.clone());
            admit_found(tenancy, parts, other, unknown)
        }
    }
}

/// 404: no tenant has the slug.
fn no_tenant(slug: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-tenant", "Unknown tenant")
        .detail(format!("tenant {slug:?} not found"))
}

/// The slug behind the prefix, and the target without both.
fn split(uri: &Uri, prefix: &str) -> Result<(Slug, Uri), Problem> {
    let rest = uri.path().strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
    let (slug, path) = match rest.map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len()))) {
        None | Some(("", _)) => {
            let detail = format!("the path names no tenant; it begins with {prefix}/SLUG/");
            return Err(Problem::no_such_path().detail(detail));
        }
        Some((slug, "")) => (slug, "/"),
        Some((slug, path)) => (slug, path),
    };
    let slug = slug.parse().map_err(|_| no_tenant(slug))?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // The rest of a valid target is valid.
    let uri = with_path(uri, &target).map_err(|_| Problem::malformed("the path is not valid"))?;
    Ok((slug, uri))
}

fn with_path(uri: &Uri, target: &str) -> Result<Uri, InvalidUriParts> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = target.parse::<PathAndQuery>().ok();
    Uri::from_parts(parts)
}

/// The slug in a header that the request has exactly once.
fn header(parts: &Parts, name: &HeaderName) -> Result<Slug, Problem> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Err(Problem::malformed(format!(
            "the request has no header {name}, which names the tenant"
        )));
    };
    if values.next().is_some() {
        return Err(Problem::malformed(format!(
            "the request has more than one header {name}; send one"
        )));
    }
    let slug = value.to_str().ok().and_then(|text| text.parse().ok());
    slug.ok_or_else(|| {
        let value = String::from_utf8_lossy(value.as_bytes());
        Problem::malformed(format!("the header {name} is {value:?}, which is not a slug"))
    })
}

#[cfg(test)]
mod tests {
    use axum::{http::Request, response::IntoResponse};

    use super::*;

    #[test]
    fn removes_prefix_and_slug_and_nothing_else() {
        for (prefix, target, slug, rest) in [
            ("/t", "/t/acme/guards", "acme", "/guards"),
            ("/t", "/t/acme/guards?limit=1&x=/t/b/", "acme", "/guards?limit=1&x=/t/b/"),
            ("/t", "/t/acme", "acme", "/"),
            ("/t", "/t/acme/", "acme", "/"),
            ("/t", "/t/acme?x", "acme", "/?x"),
            ("/t", "/t/acme/t/b", "acme", "/t/b"),
            ("/t", "/t/acme//x", "acme", "//x"),
            ("/t", "/t/acme/%2e%2e/b", "acme", "/%2e%2e/b"),
            ("/t", "http://h:1/t/acme/guards", "acme", "http://h:1/guards"),
            ("", "/acme/guards", "acme", "/guards"),
            ("/a/b", "/a/b/acme", "acme", "/"),
        ] {
            let (found, uri) = split(&target.parse().unwrap(), prefix).unwrap();
            assert_eq!((found.as_str(), uri.to_string().as_str()), (slug, rest), "{target}");
        }
    }

    #[test]
    fn a_path_without_a_slug_is_refused() {
        for (prefix, target, kind) in [
            ("/t", "/", "no-such-path"),
            ("/t", "/t", "no-such-path"),
            ("/t", "/t/", "no-such-path"),
            ("/t", "/t//guards", "no-such-path"),
            ("/t", "/tacme/guards", "no-such-path"),
            ("/t", "/T/acme/guards", "no-such-path"),
            ("/t", "/x/t/acme", "no-such-path"),
            ("/t", "*", "no-such-path"),
            ("", "/", "no-such-path"),
            ("/t", "/t/Acme/guards", "unknown-tenant"),
            ("/t", "/t/ac%6de/guards", "unknown-tenant"),
            ("/t", "/t/../guards", "unknown-tenant"),
            ("/t", "/t/a;b/guards", "unknown-tenant"),
        ] {
            let problem = split(&target.parse().unwrap(), prefix).unwrap_err();
            let json = serde_json::to_string(&problem).unwrap();
            assert!(json.contains(&format!(":{kind}\"")), "{target}: {json}");
            assert_eq!(problem.into_response().status(), 404);
        }
    }

    #[test]
    fn the_slashes_around_a_prefix_do_not_matter() {
        for (text, prefix) in [("/t", "/t"), ("t", "/t"), ("/t/", "/t"), ("", ""), ("/", "")] {
            let TenantSource(Kind::PathPrefix(found)) = TenantSource::path_prefix(text) else {
                panic!("{text}");
            };
            assert_eq!(&*found, prefix, "{text}");
        }
    }

    #[test]
    fn a_header_counts_if_it_is_there_once() {
        const NAME: HeaderName = HeaderName::from_static("x-tenant");
        let found = |values: &[&str]| {
            let mut request = Request::get("/");
            for value in values {
                request = request.header("X-Tenant", *value);
            }
            header(&request.body(()).unwrap().into_parts().0, &NAME)
        };
        assert_eq!(found(&["acme"]).unwrap().as_str(), "acme");
        for values in [&[][..], &["acme", "acme"], &["acme", ""], &["acme, b"], &[""], &["\u{e4}"]]
        {
            let response = found(values).unwrap_err().into_response();
            assert_eq!(response.status(), 400, "{values:?}");
        }
    }
}
