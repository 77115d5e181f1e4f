//! Authorization of `/admin`.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use subtle::ConstantTimeEq;
use tenantry::{Host, Scope, Tenancy};

use super::{
    Access,
    principal::{Principal, scope},
};
use crate::{api_error::ApiError, problem::Problem, target::Target, trace::RequestId};

/// The secret that authorizes requests to `/admin`. `Debug` does not print it.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// Minimum length, in characters.
    pub const MIN_LEN: usize = 16;

    /// # Errors
    /// Fewer than 16 characters, or one that a header cannot contain.
    pub fn new(token: impl Into<String>) -> Result<Self, TokenError> {
        let token = token.into();
        if token.len() < Self::MIN_LEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        Ok(Self(token))
    }

    /// Compares in constant time.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// An invalid token, which the message does not repeat.
#[derive(Debug, thiserror::Error)]
#[error(
    "the admin token (TENANTRY_ADMIN_TOKEN) must have at least 16 characters, all of them \
     printable ASCII without blanks; `openssl rand -hex 32` makes a good one"
)]
pub struct TokenError;

/// Proof that a request came to the base domain from an operator: with the scope `read` if it changes
/// nothing, else with `admin`.
pub struct Admin {
    principal: Principal,
    request_id: Option<String>,
}

impl Admin {
    /// The operator.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The tenancy whose changes are recorded as those of the operator and this request.
    #[must_use]
    pub fn acting_on(&self, tenancy: &Tenancy) -> Tenancy {
        tenancy.acting_as(self.principal.actor(self.request_id.clone()))
    }
}

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Tenancy: FromRef<S>,
    Access: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let (tenancy, access) = (Tenancy::from_ref(state), Access::from_ref(state));
        if tenancy.host(Target::from(&*parts).host()?) != Host::Base {
            return Err(Problem::no_such_path().into());
        }
        let principal = access.find(parts).await?;
        principal.record();
        if !principal.is_operator() {
            return Err(Problem::not_an_operator().into());
        }
        principal.confirm_scope(scope(parts, Scope::Admin))?;
        Ok(Self { principal, request_id: RequestId::of(&parts.extensions) })
    }
}
