use std::{future::Future, pin::Pin, sync::Arc};

use axum::http::{StatusCode, request::Parts};

use super::principal::Principal;
use crate::api_error::ApiError;

/// A check that finds the caller of a request by its head.
///
/// An application with users of its own puts its check in the place of API keys:
/// [`AppState::authenticate`](crate::AppState::authenticate), `App::authenticate` or
/// [`Access::new`](crate::Access::new). A pair of checks asks the second one if the first one finds
/// no caller or answers 401 or 404. The check may use extractors, such as [`HostTenant`](crate::HostTenant) for users that
/// are stored in the tenant's tables:
///
/// ```
/// use axum::{extract::FromRequestParts, http::request::Parts};
/// use tenantry::{Scope, Tenancy};
/// use tenantry_axum::{ApiError, Authenticate, HostTenant, Principal};
/// # async fn user_of_session(_: &tenantry::Tenant, _: &str) -> Result<Option<String>, ApiError> {
/// #     Ok(None)
/// # }
///
/// struct Sessions {
///     tenancy: Tenancy,
/// }
///
/// impl Authenticate for Sessions {
///     async fn authenticate(&self, parts: &mut Parts) -> Result<Option<Principal>, ApiError> {
///         let Some(session) = parts.headers.get("x-session").cloned() else { return Ok(None) };
///         let HostTenant(tenant) = HostTenant::from_request_parts(parts, &self.tenancy).await?;
///         let user = user_of_session(&tenant, session.to_str().unwrap_or_default()).await?;
///         let scopes = [Scope::Read, Scope::Write];
///         Ok(user.map(|user| Principal::of_tenant(&user, &tenant, scopes)))
///     }
/// }
/// ```
pub trait Authenticate: Send + Sync + 'static {
    /// The caller, or `None` if the request has no valid credentials that this check knows: the
    /// request is then answered 401, and counted as a failure of the client's address if it has an
    /// `Authorization` header.
    ///
    /// # Errors
    /// The answer to the request in place of 401, such as 503 while a database does not respond. An
    /// answer of 401, with a reason of its own, is counted as a failure, too. One of 404, such as
    /// that of [`HostTenant`](crate::HostTenant), counts as `None`, so that callers without credentials
    /// do not learn which tenants exist.
    fn authenticate(
        &self,
        request: &mut Parts,
    ) -> impl Future<Output = Result<Option<Principal>, ApiError>> + Send;

    /// Whether the credentials are certainly not guessed, as far as can be said without a query: they
    /// were valid before, or are signed. They are checked also while the client's address has failed
    /// too often. False if a check does not say.
    fn is_known(&self, _request: &Parts) -> bool {
        false
    }
}

/// Finds no caller.
impl Authenticate for () {
    async fn authenticate(&self, _: &mut Parts) -> Result<Option<Principal>, ApiError> {
        Ok(None)
    }
}

/// Finds no caller without a check.
impl<A: Authenticate> Authenticate for Option<A> {
    async fn authenticate(&self, request: &mut Parts) -> Result<Option<Principal>, ApiError> {
        match self {
            Some(check) => check.authenticate(request).await,
            None => Ok(None),
        }
    }

    fn is_known(&self, request: &Parts) -> bool {
        self.as_ref().is_some_and(|check| check.is_known(request))
    }
}

/// Asks the shared check.
impl Authenticate for Arc<dyn DynAuthenticate> {
    async fn authenticate(&self, request: &mut Parts) -> Result<Option<Principal>, ApiError> {
        (**self).find(request).await
    }

    fn is_known(&self, request: &Parts) -> bool {
        (**self).knows(request)
    }
}

/// Asks the second one if the first one finds no caller, or says why there is none (401, 404). If the
/// second one finds none either, that reason is the answer.
impl<A: Authenticate, B: Authenticate> Authenticate for (A, B) {
    async fn authenticate(&self, request: &mut Parts) -> Result<Option<Principal>, ApiError> {
        const NO_CALLER: [StatusCode; 2] = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND];
        let first = match self.0.authenticate(request).await {
            Ok(None) => Ok(None),
            Err(error) if NO_CALLER.contains(&error.status()) => Err(error),
            found => return found,
        };
        match self.1.authenticate(request).await {
            Ok(None) => first,
            found => found,
        }
    }

    fn is_known(&self, request: &Parts) -> bool {
        self.0.is_known(request) || self.1.is_known(request)
    }
}

/// [`Authenticate`] as a trait object.
pub(super) trait DynAuthenticate: Send + Sync {
    fn find<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<Finding<'a>>>;

    fn knows(&self, request: &Parts) -> bool;
}

pub(super) type Finding<'a> = dyn Future<Output = Result<Option<Principal>, ApiError>> + Send + 'a;

impl<A: Authenticate> DynAuthenticate for A {
    fn find<'a>(&'a self, request: &'a mut Parts) -> Pin<Box<Finding<'a>>> {
        Box::pin(self.authenticate(request))
    }

    fn knows(&self, request: &Parts) -> bool {
        self.is_known(request)
    }
}
