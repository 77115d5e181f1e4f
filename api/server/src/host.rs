//! The tenant of a request's `Host`.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use tenantry::{Host, Slug, Tenancy, Tenant};
use tracing::Span;

use crate::{problem::ApiError, target::Target};

/// The tenant that the request's host belongs to.
///
/// Rejects with 404 if the host belongs to no tenant, 421 if it is reserved, 403, 410 or 503 if the
/// tenant is not available.
pub struct HostTenant(pub Tenant);

impl<S> FromRequestParts<S> for HostTenant
where
    S: Send + Sync,
    Tenancy: FromRef<S>,
{
    type Rejection = axum::response::Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let tenancy = Tenancy::from_ref(state);
        let found: Result<Self, ApiError> = async {
            let host = Target::from(&*parts).host()?;
            let record = |slug: &Slug| {
                Span::current().record("tenant", tracing::field::display(slug));
            };
            // Recorded before the lookup if possible, so that the log names an unavailable tenant
            // too. Recorded once, as a second record would be a second field.
            let asked = tenancy.host(host);
            if let Host::Slug(slug) = &asked {
                record(slug);
            }
            let found = tenancy.tenant_at(&asked, host).await;
            if let Host::Custom(_) = &asked {
                match &found {
                    Ok(tenant) => record(tenant.slug()),
                    Err(tenantry::Error::Unavailable(refused)) => record(&refused.slug),
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
