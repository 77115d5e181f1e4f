//! Authorization of `/admin`.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;
use tenantry::{Host, Tenancy};

use crate::{problem::Problem, target::Target};

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
    fn matches(&self, text: &[u8]) -> bool {
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

/// Proof that a request came to the base domain with the admin token.
pub struct Admin(());

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Tenancy: FromRef<S>,
    Option<Arc<AdminToken>>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let (tenancy, token) = (Tenancy::from_ref(state), Option::from_ref(state));
        authorize(parts, &tenancy, token).map_err(IntoResponse::into_response)
    }
}

fn authorize(
    parts: &Parts,
    tenancy: &Tenancy,
    token: Option<Arc<AdminToken>>,
) -> Result<Admin, Problem> {
    let host = Target::from(parts).host()?;
    if tenancy.host(host) != Host::Base {
        return Err(Problem::no_such_path());
    }
    let token = token.ok_or_else(Problem::admin_disabled)?;
    let given = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    // The scheme is case-insensitive (RFC 9110, 11.1).
    let given = given.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
    });
    match given {
        Some(given) if token.matches(given) => Ok(Admin(())),
        _ => Err(Problem::unauthorized()),
    }
}
