//! The tenant of a request's `Host`.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use tenantry::{Host, Slug, Tenancy, Tenant};
use tracing::{Span, field::display};

use crate::{api_error::ApiError, auth::admit_found, target::Target};

/// The tenant that the request's host belongs to, in any router whose state contains the
/// [`Tenancy`].
///
/// Rejects with 400 if the request does not name exactly one host, 404 if the host belongs to no
/// tenant, 421 if it is reserved, 503 if the tenant's schema does not fit this build. A tenant that is
/// suspended, archived or dropped is answered as a host without a tenant, or with 403, 410 and 404 if
/// [`Config::reveal_unavailable`](tenantry::Config::reveal_unavailable) is set. With an
/// [`AuthLayer`](crate::AuthLayer) around the route, as in [`app`](crate::app), 403 if the tenant is
/// not that of the caller. **Without that layer every caller is admitted.**
///
/// ```no_run
/// use axum::{Router, extract::FromRef, routing::get};
/// use tenantry::Tenancy;
/// use tenantry_axum::HostTenant;
///
/// #[derive(Clone)]
/// struct State {
///     tenancy: Tenancy,
/// }
///
/// impl FromRef<State> for Tenancy {
///     fn from_ref(state: &State) -> Self {
///         state.tenancy.clone()
///     }
/// }
///
/// async fn name(HostTenant(tenant): HostTenant) -> String {
///     tenant.slug().to_string()
/// }
///
/// # fn app(tenancy: Tenancy) -> Router {
/// Router::new().route("/name", get(name)).with_state(State { tenancy })
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HostTenant(pub Tenant);

impl<S> FromRequestParts<S> for HostTenant
where
    S: Send + Sync,
    Tenancy: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let tenancy = Tenancy::from_ref(state);
        tenant_of_host(&tenancy, parts).await.map(Self)
    }
}

/// The tenant of the host that a request names.
pub(crate) async fn tenant_of_host(tenancy: &Tenancy, parts: &Parts) -> Result<Tenant, ApiError> {
    let host = Target::from(parts).host()?;
    // Recorded before the lookup if possible, so that the log names an unavailable tenant too.
    // Recorded once, as a second record would be a second field.
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
    let unknown = || tenantry::Error::UnknownHost(host.to_owned());
    admit_found(tenancy, parts, found, unknown)
}

/// Records the tenant in the span of the request.
pub(crate) fn record(slug: &Slug) {
    Span::current().record("tenant", display(slug));
}
