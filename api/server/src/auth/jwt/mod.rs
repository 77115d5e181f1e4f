//! JSON Web Tokens (RFC 7519) as credentials. The checks follow RFC 8725 and RFC 9068.

mod claims;
mod crypto;
mod key_set;
mod keys;
mod schedule;
mod source;

use std::sync::Arc;

use axum::http::request::Parts;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, errors::ErrorKind};
use tenantry::{Availability, Slug, Tenancy, TenantId};
use tracing::{debug, warn};

pub use source::{JwksSource, JwksSourceError};

use super::{Authenticate, Principal, bearer::bearer};
use crate::{api_error::ApiError, problem::Problem};
use claims::{Claims, Holder, Identity, TenantName};
use key_set::KeySet;
use keys::{Found, Keys, KeysError};

/// Longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Difference between the clocks of the issuer and of this machine that is accepted, in seconds.
const LEEWAY: u64 = 30;

/// Which tokens [`Jwt`] accepts.
///
/// ```
/// use tenantry_axum::JwtConfig;
///
/// let jwks = "https://id.example.org/.well-known/jwks.json".parse()?;
/// let mut config = JwtConfig::new(jwks, "https://id.example.org", "guards");
/// config.tenant_claim = "https://example.org/tenant".to_owned();
/// # Ok::<(), tenantry_axum::JwksSourceError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwtConfig {
    /// The public keys of the issuer.
    pub jwks: JwksSource,
    /// The claim `iss` of an accepted token.
    pub issuer: String,
    /// The claim `aud` of an accepted token, or one of its values.
    pub audience: String,
    /// Name of the claim that names the tenant, by its slug or its id. By default `tenant`. An id
    /// stays the same if the tenant is renamed, and is never given to another one.
    pub tenant_claim: String,
    /// Name of the claim that lists scopes, as words or as a list. By default `scope`.
    pub scope_claim: String,
    /// What precedes the names `read`, `write` and `admin` in that claim. By default nothing. Other
    /// words are ignored.
    pub scope_prefix: String,
    /// Name and value of a claim that makes the holder an operator, such as `roles` and
    /// `tenantry-operator`. The claim has the value, or is a list that contains it. By default no
    /// token is that of an operator.
    pub operator_claim: Option<(String, String)>,
}

impl JwtConfig {
    /// Accepts the tokens of `issuer` for `audience` that are signed with one of the keys.
    #[must_use]
    pub fn new(jwks: JwksSource, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            jwks,
            issuer: issuer.into(),
            audience: audience.into(),
            tenant_claim: "tenant".to_owned(),
            scope_claim: "scope".to_owned(),
            scope_prefix: String::new(),
            operator_claim: None,
        }
    }
}

/// Finds callers by a JSON Web Token in the `Authorization` header (`Bearer`).
///
/// A token is signed with RS256, ES256 or EdDSA (Ed25519) by a key of the issuer; the key decides
/// which of them. It names the issuer (`iss`) and this service (`aud`), has not expired (`exp`), and
/// is valid already if it says from when (`nbf`), each within 30 seconds. A claim names the one
/// tenant that it is for, another the scopes.
///
/// The keys are fetched again when their lifetime ends (`Cache-Control`, within one minute and six
/// hours, else 15 minutes), or when a token names a key that is not known, but at most every 30
/// seconds. While the source cannot be reached, they are used for an hour more; after that, tokens
/// are answered 503.
///
/// A token cannot be revoked before it expires, except with its key: let the issuer give it minutes.
/// A token with another reason to be refused than its end counts as a failure of its client's address;
/// one that is valid by the loaded keys is accepted also from an address that has failed too often.
///
/// Beside another check, whose credentials are accepted, too:
///
/// ```no_run
/// # use tenantry_axum::{AppState, Jwt, JwtConfig};
/// # async fn example(state: AppState, config: JwtConfig) -> Result<AppState, tenantry_axum::JwtError> {
/// let jwt = Jwt::connect(state.tenancy().clone(), config).await?;
/// Ok(state.also_authenticate(jwt))
/// # }
/// ```
#[derive(Clone)]
pub struct Jwt(Arc<Inner>);

struct Inner {
    tenancy: Tenancy,
    config: JwtConfig,
    keys: Keys,
}

/// The keys of the token issuer could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the token issuer cannot be loaded from {jwks}: {cause}")]
pub struct JwtError {
    jwks: JwksSource,
    #[source]
    cause: KeysError,
}

/// Why a token is not accepted, for its holder (RFC 6750, 3: `error_description`).
type Refused = &'static str;

const EXPIRED: Refused = "the token has expired";
const UNKNOWN_KEY: Refused = "the token is signed with an unknown key";

impl Jwt {
    /// Loads the keys of the issuer. If the URL cannot be reached, tokens are answered 503 until it
    /// can; the log says so.
    ///
    /// # Errors
    /// The file cannot be read, or the source has no key that can be used.
    pub async fn connect(tenancy: Tenancy, config: JwtConfig) -> Result<Self, JwtError> {
        crypto::install();
        let keys = Keys::new(config.jwks.clone());
        match keys.load().await {
            Ok(()) => {}
            // Other credentials are accepted meanwhile.
            Err(KeysError::Fetch(error)) if config.jwks.is_url() => {
                let jwks = &config.jwks;
                warn!(%jwks, %error, "the keys of the token issuer cannot be fetched; retrying when tokens arrive");
            }
            Err(cause) => return Err(JwtError { jwks: config.jwks, cause }),
        }
        Ok(Self(Arc::new(Inner { tenancy, config, keys })))
    }

    /// The claims of a token whose signature and times are valid.
    async fn verify(&self, token: &str) -> Result<Claims, ApiError> {
        let refused = |reason: Refused| match reason {
            EXPIRED => ApiError::expired(Problem::invalid_token(reason)),
            other => Problem::invalid_token(other).into(),
        };
        let header = header(token).map_err(refused)?;
        match self.0.keys.find(&header).await {
            Found::Keys(keys) => self.0.config.verified(token, &keys, &header).map_err(refused),
            Found::Unknown => Err(refused(UNKNOWN_KEY)),
            Found::Unavailable => {
                Err(Problem::busy("keys-unavailable", "Keys of the issuer unavailable").into())
            }
        }
    }

    /// Id and slug of the tenant that a token names, also of one that is not available. A tenant
    /// that does not exist is not that of the request.
    async fn tenant(&self, name: &TenantName) -> Result<(TenantId, Slug), ApiError> {
        let tenancy = &self.0.tenancy;
        let found = match name {
            TenantName::Slug(slug) => tenancy.tenant(slug).await,
            TenantName::Id(id) => tenancy.tenant_by_id(*id).await,
        };
        use tenantry::Error as E;
        match found {
            Ok(tenant) => Ok((tenant.id(), tenant.slug().clone())),
            Err(E::Unavailable(tenant)) if tenant.availability != Availability::Dropped => {
                Ok((tenant.id, tenant.slug))
            }
            Err(E::UnknownTenant(_) | E::UnknownTenantId(_) | E::Unavailable(_)) => {
                Err(Problem::other_tenant().into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The bearer token, if it has the form of a JWT (RFC 7515, 7.1): three parts. Other credentials are
/// for another check.
fn token(request: &Parts) -> Option<&str> {
    let token = std::str::from_utf8(bearer(&request.headers)?).ok()?;
    (token.bytes().filter(|byte| *byte == b'.').count() == 2).then_some(token)
}

/// The header of a token that may be accepted.
fn header(token: &str) -> Result<Header, Refused> {
    if token.len() > MAX_TOKEN {
        return Err("the token is too long");
    }
    let header = decode_header(token).map_err(|_| "the token is malformed")?;
    match header.alg {
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => Ok(header),
        _ => Err("the algorithm of the token is not accepted"),
    }
}

impl JwtConfig {
    /// The claims of a token, after all checks.
    fn verified(&self, token: &str, keys: &KeySet, header: &Header) -> Result<Claims, Refused> {
        let key = keys.find(header).ok_or(UNKNOWN_KEY)?;
        // The algorithm of the key, not that of the token.
        let mut checks = Validation::new(key.algorithm);
        checks.leeway = LEEWAY;
        checks.validate_nbf = true;
        checks.set_issuer(&[&self.issuer]);
        checks.set_audience(&[&self.audience]);
        checks.set_required_spec_claims(&["exp", "iss", "aud"]);
        let claims = decode::<Claims>(token, &key.key, &checks).map_err(|error| reason(&error))?;
        // A list of issuers is not one that has issued the token.
        if claims.claims.get("iss").is_none_or(|issuer| issuer != self.issuer.as_str()) {
            return Err("the issuer of the token is another one");
        }
        Ok(claims.claims)
    }
}

/// The reason without any part of the token.
fn reason(error: &jsonwebtoken::errors::Error) -> Refused {
    debug!(%error, "a token is refused");
    match error.kind() {
        ErrorKind::ExpiredSignature => EXPIRED,
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the issuer of the token is another one",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token has no claim exp",
            "iss" => "the token has no claim iss",
            _ => "the token has no claim aud",
        },
        ErrorKind::InvalidClaimFormat(_) => "a claim of the token is malformed",
        ErrorKind::InvalidSignature => "the signature of the token is not valid",
        _ => "the token is malformed",
    }
}

impl Authenticate for Jwt {
    async fn authenticate(&self, request: &mut Parts) -> Result<Option<Principal>, ApiError> {
        let Some(token) = token(request) else { return Ok(None) };
        let claims = self.verify(token).await?;
        let Identity { name, holder, scopes } = Identity::read(&claims, &self.0.config);
        match holder {
            Holder::Operator => Ok(Some(Principal::operator(&name, scopes))),
            Holder::Tenant(tenant) => {
                Ok(Some(Principal::of(&name, self.tenant(&tenant).await?, scopes)))
            }
            Holder::None => Err(Problem::other_tenant().into()),
        }
    }

    /// Whether a token is valid by the keys that are loaded.
    fn is_known(&self, request: &Parts) -> bool {
        let claims = || {
            let token = token(request)?;
            let header = header(token).ok()?;
            let keys = self.0.keys.loaded(&header)?;
            self.0.config.verified(token, &keys, &header).ok()
        };
        claims().is_some()
    }
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Jwt").field(&self.0.config).finish()
    }
}
