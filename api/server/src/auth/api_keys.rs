use axum::http::request::Parts;
use tenantry::{KeyCheck, Tenancy};

use super::{authenticate::Authenticate, bearer::bearer, principal::Principal};
use crate::{api_error::ApiError, problem::Problem};

/// The check of [API keys](tenantry::Tenancy::key_create), sent as `authorization: Bearer tnt_…`. The
/// default of [`AppState`](crate::AppState).
#[derive(Debug, Clone)]
pub struct ApiKeys(Tenancy);

impl ApiKeys {
    /// The keys of the tenants and operators of `tenancy`.
    #[must_use]
    pub fn new(tenancy: Tenancy) -> Self {
        Self(tenancy)
    }
}

/// The bearer token, if it is an API key or was meant to be one.
fn key(request: &Parts) -> Option<&str> {
    let token = std::str::from_utf8(bearer(&request.headers)?).ok()?;
    token.starts_with("tnt_").then_some(token)
}

impl Authenticate for ApiKeys {
    async fn authenticate(&self, request: &mut Parts) -> Result<Option<Principal>, ApiError> {
        let Some(key) = key(request) else { return Ok(None) };
        match self.0.key_verify(key).await? {
            KeyCheck::Valid(key) => Ok(Some(Principal::of_key(key))),
            KeyCheck::Malformed | KeyCheck::Unknown => Ok(None),
            KeyCheck::Revoked => Err(Problem::unauthorized_key("the key was revoked").into()),
            KeyCheck::Expired(at) => {
                let at = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                let problem = Problem::unauthorized_key(format!("the key has expired at {at}"));
                Err(ApiError::expired(problem))
            }
        }
    }

    fn is_known(&self, request: &Parts) -> bool {
        key(request).is_some_and(|key| self.0.key_is_known(key))
    }
}
