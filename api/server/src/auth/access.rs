use std::{fmt, sync::Arc};

use axum::http::{header, request::Parts};
use tenantry::{Host, Scope, Tenancy, Tenant};

use super::{
    AdminToken,
    authenticate::{Authenticate, DynAuthenticate},
    bearer::bearer,
    principal::{Principal, admit, is_read},
};
use crate::{api_error::ApiError, problem::Problem, target::Target};

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
}

impl Access {
    /// Callers are found by `check`, and by nothing else.
    #[must_use]
    pub fn new(tenancy: Tenancy, check: impl Authenticate) -> Self {
        Self { tenancy, check: Arc::new(check), admin_token: None, anonymous: None }
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

    /// Opens all tenants' routes to everybody, without credentials: for development, and behind a
    /// proxy that asks for them. The admin API stays closed.
    #[must_use]
    pub fn anonymous(self) -> Self {
        Self { anonymous: Some(Principal::anonymous()), ..self }
    }

    /// Whether an admin token is set.
    pub(super) fn has_admin_token(&self) -> bool {
        self.admin_token.is_some()
    }

    /// Puts the caller of a request to a tenant's routes into its extensions, if it may send it.
    pub(super) async fn admit(&self, parts: &mut Parts) -> Result<(), ApiError> {
        if let Some(anonymous) = &self.anonymous {
            parts.extensions.insert(anonymous.clone());
            return Ok(());
        }
        let principal = self.find(parts).await?;
        principal.record();
        principal.confirm_scope(if is_read(&parts.method) { Scope::Read } else { Scope::Write })?;
        // Of a `TenantLayer` around this one.
        if let Some(tenant) = parts.extensions.get::<Tenant>() {
            principal.confirm_tenant(tenant)?;
        }
        self.confirm_host(parts, &principal).await?;
        parts.extensions.insert(principal);
        Ok(())
    }

    /// The caller of a request, unless there is none.
    pub(super) async fn find(&self, parts: &mut Parts) -> Result<Principal, ApiError> {
        let given = bearer(&parts.headers);
        if let (Some(token), Some(given)) = (&self.admin_token, given)
            && token.matches(given)
        {
            return Ok(Principal::operator("admin token", tenantry::Scopes::ALL));
        }
        let found = self.check.find(parts).await?;
        found.ok_or_else(|| {
            let has_credentials = parts.headers.contains_key(header::AUTHORIZATION);
            Problem::unauthorized(has_credentials).into()
        })
    }

    /// Refuses a caller on the host of a tenant that is not its own, also for routes that do not use
    /// the tenant. Other hosts are those of no tenant, or of one that is found by the path.
    async fn confirm_host(&self, parts: &Parts, principal: &Principal) -> Result<(), ApiError> {
        let Some(name) = Target::from(parts).named()? else { return Ok(()) };
        let host = self.tenancy.host(name);
        match (&host, principal.tenant()) {
            (Host::Slug(slug), Some((_, own))) if slug == own => Ok(()),
            (Host::Slug(_), _) => {
                admit(Some(principal), self.tenancy.tenant_at(&host, name).await).map(drop)
            }
            // The host name of the whole service belongs to no tenant and is not refused.
            (Host::Custom(_), _) => match self.tenancy.tenant_at(&host, name).await {
                Err(tenantry::Error::UnknownHost(_)) => Ok(()),
                found => admit(Some(principal), found).map(drop),
            },
            (Host::Base | Host::Reserved | Host::Unknown, _) => Ok(()),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Access");
        debug.field("anonymous", &self.anonymous.is_some()).finish_non_exhaustive()
    }
}
