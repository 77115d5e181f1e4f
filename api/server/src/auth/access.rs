use std::{fmt, sync::Arc};

use axum::http::{HeaderName, StatusCode, header, request::Parts};
use tenantry::{Host, Scope, Tenancy, Tenant};

use super::{
    AdminToken,
    authenticate::{Authenticate, DynAuthenticate},
    bearer::bearer,
    client_address::client_address,
    failures::Failures,
    principal::{Principal, admit_found, scope},
};
use crate::{api_error::ApiError, host::record, problem::Problem, target::Target};

/// Who may use the tenants' routes and the admin API. Cheap to clone.
///
/// [`AppState`](crate::AppState) contains one; a router without [`app`](crate::app) passes it to an
/// [`AuthLayer`](crate::AuthLayer).
#[derive(Clone)]
pub struct Access {
    tenancy: Tenancy,
    check: Arc<dyn DynAuthenticate>,
    admin_token: Option<Arc<AdminToken>>,
    anonymous: Option<Principal>,
    failures: Failures,
    address_header: Option<HeaderName>,
}

impl Access {
    /// Callers are found by `check`, and by nothing else.
    #[must_use]
    pub fn new(tenancy: Tenancy, check: impl Authenticate) -> Self {
        Self {
            tenancy,
            check: Arc::new(check),
            admin_token: None,
            anonymous: None,
            failures: Failures::new(),
            address_header: None,
        }
    }

    /// Sets the token of an operator with all scopes, whose name is `admin token`.
    #[must_use]
    pub fn admin_token(self, token: Option<AdminToken>) -> Self {
        Self { admin_token: token.map(Arc::new), ..self }
    }

    /// Puts another check in the place of the first one.
    #[must_use]
    pub fn authenticate(self, check: impl Authenticate) -> Self {
        Self { check: Arc::new(check), ..self }
    }

    /// Adds a check for requests whose caller the others do not find.
    #[must_use]
    pub fn also_authenticate(self, check: impl Authenticate) -> Self {
        Self { check: Arc::new((self.check, check)), ..self }
    }

    /// Opens all tenants' routes to every caller, without credentials: for development, and behind a
    /// proxy that asks for them. The admin API stays closed.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { anonymous: Some(Principal::anonymous()), ..self }
    }

    /// Takes the address of a client, whose failures are counted, from the last value of a header:
    /// one that a proxy sets or appends to, such as `x-forwarded-for`, which has nothing but addresses;
    /// that is not so of `Forwarded` (RFC 7239). Only behind such a proxy, as a client could invent
    /// addresses.
    ///
    /// Without it the address is that of the connection, which behind a proxy is the proxy's. A
    /// server that does not say it ([`serve`](crate::serve) does, and so does axum's with
    /// `into_make_service_with_connect_info::<SocketAddr>()`) counts no failures.
    #[must_use]
    pub fn client_address_header(self, name: HeaderName) -> Self {
        Self { address_header: Some(name), ..self }
    }

    /// Puts the caller of a request to a tenant's routes into its extensions, if it may send it.
    pub(super) async fn admit(&self, parts: &mut Parts) -> Result<(), ApiError> {
        if let Some(anonymous) = &self.anonymous {
            parts.extensions.insert(anonymous.clone());
            return Ok(());
        }
        let principal = self.find(parts).await?;
        principal.record();
        parts.extensions.insert(principal.clone());
        // Of a `TenantLayer` around this one.
        if let Some(tenant) = parts.extensions.get::<Tenant>().cloned() {
            let unknown = || tenantry::Error::UnknownTenantId(tenant.id());
            admit_found(&self.tenancy, parts, Ok(tenant.clone()), unknown)?;
        }
        self.confirm_host(parts).await?;
        Ok(principal.confirm_scope(scope(parts, Scope::Write))?)
    }

    /// The caller of a request, unless there is none.
    pub(super) async fn find(&self, parts: &mut Parts) -> Result<Principal, ApiError> {
        let has_credentials = parts.headers.contains_key(header::AUTHORIZATION);
        let address = client_address(parts, self.address_header.as_ref());
        if has_credentials
            && let Some(wait) = address.and_then(|address| self.failures.wait(address))
            && !self.check.knows(parts)
        {
            return Err(Problem::too_many_failures(wait).into());
        }
        let given = bearer(&parts.headers);
        if let (Some(token), Some(given)) = (&self.admin_token, given)
            && token.matches(given)
        {
            return Ok(Principal::operator("admin token", tenantry::Scopes::ALL));
        }
        let unauthorized = || ApiError::from(Problem::unauthorized(has_credentials));
        let answer = match self.check.find(parts).await {
            Ok(Some(principal)) => return Ok(principal),
            Ok(None) => unauthorized(),
            // Of a check that looks up the tenant of the host: strangers do not learn which exist.
            Err(error) if error.status() == StatusCode::NOT_FOUND => match error.refusal() {
                Some(refusal) => unauthorized().about(refusal.tenant.clone()),
                None => unauthorized(),
            },
            Err(error) => error,
        };
        if let (true, Some(address)) = (has_credentials && answer.is_failure(), address) {
            self.failures.count(address);
        }
        Err(answer)
    }

    /// Refuses a caller on the host of a tenant that is not its own or not available, also for routes
    /// that do not use the tenant. Other hosts are those of no tenant, or of one that is found by the path.
    async fn confirm_host(&self, parts: &Parts) -> Result<(), ApiError> {
        let Some(name) = Target::from(parts).named()? else { return Ok(()) };
        let host = self.tenancy.host(name);
        if !matches!(host, Host::Slug(_) | Host::Custom(_)) {
            return Ok(());
        }
        let unknown = || tenantry::Error::UnknownHost(name.to_owned());
        let admitted = match (&host, self.tenancy.tenant_at(&host, name).await) {
            // The host name of the whole service belongs to no tenant and is not refused.
            (Host::Custom(_), Err(tenantry::Error::UnknownHost(_))) => Ok(()),
            (_, found) => admit_found(&self.tenancy, parts, found, unknown).map(drop),
        };
        if let (Err(_), Host::Slug(slug)) = (&admitted, &host) {
            // An admitted request records its tenant where it uses it.
            record(slug);
        }
        admitted
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Access");
        debug.field("anonymous", &self.anonymous.is_some()).finish_non_exhaustive()
    }
}
