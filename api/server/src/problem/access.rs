//! Problems of callers: their credentials and what these allow.

use std::{borrow::Cow, time::Duration};

use axum::http::StatusCode;
use tenantry::Scope;

use super::Problem;

impl Problem {
    /// 401: the credentials are missing or not valid (RFC 6750, 3.1: no code if they are missing).
    pub(crate) fn unauthorized(has_credentials: bool) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not authorized");
        match has_credentials {
            true => problem
                .detail("the credentials are not valid")
                .challenge("Bearer error=\"invalid_token\"".to_owned()),
            false => problem
                .detail("send credentials as `authorization: Bearer …`")
                .challenge("Bearer".to_owned()),
        }
    }

    /// 401: the key is real, but not valid any more.
    pub(crate) fn unauthorized_key(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::unauthorized(true).detail(detail)
    }

    /// 429: too many credentials of the address were not valid.
    pub(crate) fn too_many_failures(wait: Duration) -> Self {
        let title = "Too many failed authentications";
        let seconds = u8::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u8::MAX);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", title);
        Self { retry_after: Some(seconds), ..problem }.detail(
            "too many requests of this address had credentials that are not valid; wait, then send \
             valid ones",
        )
    }

    /// 401: a token is not accepted, for a reason that its holder may know (RFC 6750, 3.1).
    #[cfg(feature = "jwt")]
    pub(crate) fn invalid_token(reason: &'static str) -> Self {
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not authorized")
            .detail(reason)
            .challenge(challenge)
    }

    /// 403: the caller lacks a scope.
    pub(crate) fn insufficient_scope(scope: Scope) -> Self {
        Self::new(StatusCode::FORBIDDEN, "insufficient-scope", "Scope is missing")
            .detail(format!("the credentials lack the scope {scope}, which this request needs"))
            .challenge(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
    }

    /// 403: the caller is of another tenant. Names neither.
    pub(crate) fn other_tenant() -> Self {
        Self::new(StatusCode::FORBIDDEN, "other-tenant", "Credentials of another tenant")
            .detail("the credentials are not those of this tenant")
    }

    /// 403: an operator asks for a tenant's data.
    pub(crate) fn operator_only() -> Self {
        Self::new(StatusCode::FORBIDDEN, "operator-only", "Credentials of an operator").detail(
            "the credentials are for the admin API; a tenant's routes need those of the tenant",
        )
    }

    /// 403: a caller of a tenant asks for the admin API.
    pub(crate) fn not_an_operator() -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-an-operator", "Credentials of a tenant")
            .detail("the credentials are those of a tenant; the admin API needs an operator's")
    }

    /// Sets the `WWW-Authenticate` header.
    fn challenge(self, challenge: String) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}
