use std::{fmt, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use tenantry::{
    Actor, Scope, Scopes, Slug, Tenancy, Tenant, TenantId, TenantUnavailable, VerifiedKey,
};
use tracing::{Span, error};

use crate::{
    api_error::ApiError, cross_origin::changes_nothing, problem::Problem, trace::RequestId,
    unavailable::hides,
};

/// Maximum length of a name, in characters.
const MAX_NAME: usize = 200;

/// The caller of a request: an API key, a user of the application, or an operator. Cheap to clone.
///
/// As an extractor it gives a handler the caller that an [`AuthLayer`](crate::AuthLayer) has found.
/// [`app`](crate::app) has this layer around all routes. Without it the request is answered 500.
///
/// ```
/// use tenantry_axum::Principal;
///
/// async fn whoami(principal: Principal) -> String {
///     principal.name().to_owned()
/// }
/// ```
#[derive(Clone)]
pub struct Principal(Arc<Inner>);

struct Inner {
    name: String,
    kind: Kind,
    scopes: Scopes,
}

enum Kind {
    /// Of any tenant, where anonymous access is configured.
    Anonymous,
    Tenant {
        id: TenantId,
        slug: Slug,
    },
    Operator,
}

impl Principal {
    /// A caller of one tenant. The name is logged and recorded with changes: the name of a user or
    /// of a key, never a secret. Control characters are replaced, and it is cut at 200 characters.
    pub fn of_tenant(name: &str, tenant: &Tenant, scopes: impl Into<Scopes>) -> Self {
        Self::of(name, (tenant.id(), tenant.slug().clone()), scopes.into())
    }

    /// A caller of one tenant, which may be unavailable.
    pub(super) fn of(name: &str, (id, slug): (TenantId, Slug), scopes: Scopes) -> Self {
        Self::new(name, Kind::Tenant { id, slug }, scopes)
    }

    /// A caller of the admin API, who may use no tenant's routes.
    pub fn operator(name: &str, scopes: impl Into<Scopes>) -> Self {
        Self::new(name, Kind::Operator, scopes.into())
    }

    /// The owner of an API key.
    pub(super) fn of_key(key: VerifiedKey) -> Self {
        let name = format!("key:{}", key.name);
        match key.tenant {
            Some(tenant) => Self::of(&name, tenant, key.scopes),
            None => Self::operator(&name, key.scopes),
        }
    }

    /// A caller without credentials, with every scope of every tenant.
    pub(super) fn anonymous() -> Self {
        Self::new("anonymous", Kind::Anonymous, Scopes::ALL)
    }

    fn new(name: &str, kind: Kind, scopes: Scopes) -> Self {
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let name = name.chars().take(MAX_NAME).map(printable).collect();
        Self(Arc::new(Inner { name, kind, scopes }))
    }

    /// The name under which requests are logged and changes recorded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Id and slug of the caller's tenant; none for an operator and for anonymous access.
    #[must_use]
    pub fn tenant(&self) -> Option<(TenantId, &Slug)> {
        match &self.0.kind {
            Kind::Tenant { id, slug } => Some((*id, slug)),
            Kind::Anonymous | Kind::Operator => None,
        }
    }

    /// The scopes.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.0.scopes
    }

    /// Whether this is an operator, who may use the admin API.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        matches!(self.0.kind, Kind::Operator)
    }

    /// Whether no credentials were needed, see [`Access::anonymous`](crate::Access::anonymous).
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self.0.kind, Kind::Anonymous)
    }

    /// Returns 403 unless the caller may use a tenant. [`HostTenant`](crate::HostTenant) and
    /// [`TenantLayer`](crate::TenantLayer) have asked; a handler that finds tenants by itself asks.
    ///
    /// # Errors
    /// 403: the caller is an operator or of another tenant.
    pub fn confirm_tenant(&self, tenant: &Tenant) -> Result<(), Problem> {
        match self.0.kind {
            Kind::Anonymous => Ok(()),
            Kind::Tenant { id, .. } if id == tenant.id() => Ok(()),
            Kind::Tenant { .. } => Err(Problem::other_tenant()),
            Kind::Operator => Err(Problem::operator_only()),
        }
    }

    /// Returns 403 unless the caller has a scope.
    ///
    /// # Errors
    /// 403 with `insufficient_scope` (RFC 6750, 3.1).
    pub fn confirm_scope(&self, scope: Scope) -> Result<(), Problem> {
        match self.0.scopes.contains(scope) {
            true => Ok(()),
            false => Err(Problem::insufficient_scope(scope)),
        }
    }

    /// The actor of changes that the caller makes in a request.
    pub(super) fn actor(&self, request_id: Option<String>) -> Actor {
        Actor { request_id, ..Actor::new(self.name()) }
    }

    /// Records the name in the span of the request.
    pub(super) fn record(&self) {
        if !self.is_anonymous() {
            Span::current().record("principal", self.name());
        }
    }
}

/// The scope that a request needs: `read`, or `other` if it may change something.
pub(super) fn scope(parts: &Parts, other: Scope) -> Scope {
    if changes_nothing(&parts.method, &parts.headers) { Scope::Read } else { other }
}

/// The tenant that was found for a request, unless its caller may not use it. A tenant that is hidden
/// is `unknown`, also for its own callers; the log names it.
pub(crate) fn admit_found(
    tenancy: &Tenancy,
    parts: &Parts,
    found: Result<Tenant, tenantry::Error>,
    unknown: impl FnOnce() -> tenantry::Error,
) -> Result<Tenant, ApiError> {
    match found {
        Err(tenantry::Error::Unavailable(refused)) if hides(tenancy, &refused) => {
            let answer = admit(tenancy, parts, Err(unknown()), Some(&refused));
            answer.map_err(|error| error.about(refused))
        }
        found => admit(tenancy, parts, found, None),
    }
}

/// The tenant that was found for a request, unless its caller may not use it. A caller of another
/// tenant learns neither whether the tenant exists nor its state; that it was refused is recorded.
fn admit(
    tenancy: &Tenancy,
    parts: &Parts,
    found: Result<Tenant, tenantry::Error>,
    hidden: Option<&TenantUnavailable>,
) -> Result<Tenant, ApiError> {
    use tenantry::Error as E;
    // Without an `AuthLayer` every caller is admitted.
    let Some(principal) = parts.extensions.get::<Principal>() else { return Ok(found?) };
    let own = match principal.0.kind {
        Kind::Anonymous => return Ok(found?),
        Kind::Operator => return Err(Problem::operator_only().into()),
        Kind::Tenant { id, .. } => id,
    };
    let named = match (&found, hidden) {
        (_, Some(refused)) | (Err(E::Unavailable(refused)), None) => {
            Some((refused.id, &refused.slug))
        }
        (Ok(tenant), None) => Some((tenant.id(), tenant.slug())),
        (Err(E::UnknownHost(_) | E::UnknownTenant(_) | E::UnknownTenantId(_)), None) => None,
        (Err(_), None) => return Ok(found?),
    };
    if named.is_some_and(|(id, _)| id == own) {
        return Ok(found?);
    }
    let named = named.map(|(id, slug)| (id, slug.clone()));
    let actor = principal.actor(RequestId::of(&parts.extensions));
    tenancy.acting_as(actor).record_refusal(own, named);
    Err(Problem::other_tenant().into())
}

/// The caller in the extensions of a request, or 500 and a line in the log if no layer has asked.
pub(super) fn caller(parts: &Parts) -> Result<&Principal, Problem> {
    parts.extensions.get().ok_or_else(|| {
        error!(
            path = parts.uri.path(),
            "the route asks for the caller of the request, but there is no AuthLayer around it"
        );
        Problem::internal()
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(caller(parts)?.clone())
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Principal");
        debug.field("name", &self.name()).field("scopes", &self.scopes());
        debug.field("tenant", &self.tenant().map(|(_, slug)| slug.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_bounded_length() {
        let name = format!("a\nb\u{1b}[31m{}", "x".repeat(500));
        let principal = Principal::operator(&name, [Scope::Read]);
        assert!(principal.name().starts_with("a\u{fffd}b\u{fffd}[31mx"));
        assert_eq!(principal.name().chars().count(), MAX_NAME);
    }

    #[test]
    fn a_scope_that_is_missing_is_named() {
        let principal = Principal::operator("ops", [Scope::Read]);
        principal.confirm_scope(Scope::Read).unwrap();
        let problem = principal.confirm_scope(Scope::Admin).unwrap_err();
        assert!(serde_json::to_string(&problem).unwrap().contains("scope admin"), "{problem:?}");
    }
}
