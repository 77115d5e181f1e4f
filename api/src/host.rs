//! The tenant of a request, from its `Host`.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Uri, header, request::Parts},
};
use service::{
    Slug,
    tenancy::{self, Host, Tenant},
};
use tracing::Span;

use crate::{
    State,
    problem::{Failure, Problem},
};

/// The tenant that the request's host belongs to.
///
/// Rejected with 404 when the host is nobody's, 421 when it is reserved, 403, 410 or 503 when the
/// tenant may not be used.
pub struct TenantOfHost(pub Tenant);

impl FromRequestParts<State> for TenantOfHost {
    type Rejection = axum::response::Response;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Self::Rejection> {
        let found: Result<Self, Failure> = async {
            let host = host(&parts.uri, &parts.headers)?;
            let record = |slug: &Slug| {
                Span::current().record("tenant", tracing::field::display(slug));
            };
            // Before it is looked up where that is possible: the log tells of a tenant that is
            // refused, or not found in time, as well. Once: a second record would be a second
            // field.
            let asked = state.tenancy.host(host);
            if let Host::Slug(slug) = &asked {
                record(slug);
            }
            let found = state.tenancy.tenant_at(&asked, host).await;
            if let Host::Custom(_) = &asked {
                match &found {
                    Ok(tenant) => record(tenant.slug()),
                    Err(tenancy::Error::Refused(refused)) => record(&refused.slug),
                    Err(_) => {}
                }
            }
            let tenant = found?;
            Ok(Self(tenant))
        }
        .await;
        found.map_err(axum::response::IntoResponse::into_response)
    }
}

/// The host that was asked for: the authority of the target if it has one (always in HTTP/2), else
/// the `Host` header, of which there must be exactly one (RFC 9112, 3.2).
pub(crate) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
    if let Some(host) = uri.host() {
        return Ok(host);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) => Ok(host),
        (None, _) => Err(Problem::malformed(
            "the request has no Host header; send one, it says which tenant is meant",
        )),
        _ => Err(Problem::malformed("the request must have one Host header, in ASCII")),
    }
}
