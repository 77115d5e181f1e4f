//! Problem documents (RFC 9457), the answers to all errors.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::SecondsFormat;
use serde::Serialize;
use tenantry::{Availability, DbErrorKind, Misuse, OwnerError, Scope, TransferError};
use validator::ValidationErrors;

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Kind of the problem: `urn:tenantry:problem:…`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What is wrong with this request and how to fix it. Never the cause of a 5xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'static, str>>,
    /// Invalid fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Seconds after which to retry.
    #[serde(skip)]
    retry_after: Option<u8>,
    /// The `WWW-Authenticate` header.
    #[serde(skip)]
    challenge: Option<String>,
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FieldError {
    /// Name of the field.
    pub field: String,
    /// Code of the violated rule.
    pub code: Cow<'static, str>,
    /// The violated rule in words.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &str, title: &'static str) -> Self {
        Self {
            kind: format!("urn:tenantry:problem:{kind}"),
            title,
            status,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            challenge: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn is_server_error(&self) -> bool {
        self.status.is_server_error()
    }

    /// 404: no route has the path.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "No such path").detail(
            "no route has this path on this host; the admin API, on the base domain, is below \
             /admin/tenants",
        )
    }

    /// 405: the route has other methods.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            .detail("the Allow header lists the methods of this path")
    }

    /// 400: the request cannot be parsed.
    #[must_use]
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request").detail(detail)
    }

    /// 415: the Content-Type is not JSON.
    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not JSON")
            .detail("send the body with `content-type: application/json`")
    }

    /// 413: the body is too long.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large")
            .detail(format!("the body may have at most {} bytes", crate::MAX_BODY))
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "Body too slow").detail(format!(
            "the body did not arrive within {} seconds; send it again, and faster",
            crate::BODY_DEADLINE.as_secs()
        ))
    }

    /// 422: fields are invalid.
    #[must_use]
    pub fn invalid(mut errors: Vec<FieldError>) -> Self {
        errors.sort_unstable();
        errors.dedup();
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid input");
        Self { errors, ..problem.detail("see `errors` for each invalid field") }
    }

    /// 404: the row does not exist.
    #[must_use]
    pub fn not_found(noun: &str, id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .detail(format!("{noun} {id} not found; GET /{noun}s lists the existing ones"))
    }

    /// 404: no tenant has the slug.
    pub(crate) fn unknown_tenant(slug: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-tenant", "Unknown tenant")
            .detail(format!("tenant {slug} not found; GET /admin/tenants lists the existing ones"))
    }

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

    /// 500: a bug or an unexpected error.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error")
            .detail("report the x-request-id of this answer: the error is logged under it")
    }

    /// 503: a retry may succeed.
    #[must_use]
    pub fn busy(kind: &str, title: &'static str) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title);
        Self { retry_after: Some(1), ..problem.detail("try again in a moment") }
    }

    /// 501: the server may not create and drop schemas, and this is intended.
    fn owner_required() -> Self {
        let title = "Server may not create or drop schemas";
        Self::new(StatusCode::NOT_IMPLEMENTED, "owner-required", title).detail(
            "this server runs without the rights of the database's owner; use the command line \
             with TENANTRY_OWNER_URL, or start the server with it",
        )
    }

    /// 503: the database server accepts no writes.
    fn read_only_server(standby: bool) -> Self {
        let (kind, title, detail) = match standby {
            true => (
                "standby",
                "Database server is a standby",
                "the database server is a standby and accepts no writes; retry after a failover",
            ),
            false => (
                "read-only",
                "Database server is read-only",
                "the database server is read-only; retry when it accepts writes",
            ),
        };
        Self::busy(kind, title).detail(detail)
    }

    pub(crate) fn of_tenancy(error: &tenantry::Error) -> Self {
        use tenantry::Error as E;
        let (status, kind, title) = match error {
            E::UnknownTenant(slug) => return Self::unknown_tenant(slug),
            E::OfTenant { source, .. } => return Self::of_tenancy(source),
            E::UnknownTenantId(_) => (StatusCode::NOT_FOUND, "unknown-tenant", "Unknown tenant"),
            E::UnknownHost(_) => (StatusCode::NOT_FOUND, "unknown-host", "Unknown host"),
            // RFC 9110, 15.5.20: this server is not authoritative for the host.
            E::ReservedHost(_) => {
                (StatusCode::MISDIRECTED_REQUEST, "reserved-host", "Reserved host")
            }
            E::Unavailable(refused) => match refused.availability {
                Availability::Suspended => {
                    (StatusCode::FORBIDDEN, "suspended", "Tenant is suspended")
                }
                Availability::Archived => (StatusCode::GONE, "archived", "Tenant is archived"),
                // During a release the tenant will be migrated, or a retry reach a process of the
                // other release. Migrations are not a concern of clients.
                Availability::Behind => {
                    return Self::busy("tenant-behind", "Tenant is being migrated");
                }
                Availability::Ahead => return Self::busy("tenant-ahead", "Tenant was migrated"),
                _ => (StatusCode::NOT_FOUND, "unknown-tenant", "Unknown tenant"),
            },
            E::ReadOnlyServer { standby } => return Self::read_only_server(*standby),
            E::Owner(OwnerError::Required { .. }) => return Self::owner_required(),
            E::ReadOnlyTenant(_) => {
                return Self::busy("tenant-read-only", "Tenant is read-only")
                    .detail("the tenant's data can be read and not changed now; try again later");
            }
            // This tenant only.
            E::Busy(_) => return Self::busy("tenant-busy", "Tenant is busy"),
            E::SlugTaken(_) => (StatusCode::CONFLICT, "slug-taken", "Slug is taken"),
            // Without the tenant that has had it.
            E::SlugReserved { slug, until, .. } => {
                let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
                return Self::new(StatusCode::CONFLICT, "slug-reserved", "Slug is reserved")
                    .detail(format!("slug {slug} is reserved until {until}; choose another one"));
            }
            E::InvalidTransition(_) => {
                (StatusCode::CONFLICT, "invalid-transition", "Not possible in this status")
            }
            E::GraceNotOver { .. } => {
                let title = "Data is to be kept";
                return Self::new(StatusCode::CONFLICT, "grace-not-over", title)
                    .detail(format!("{error} (`{{\"force\": true}}`)"));
            }
            E::SchemaTaken(_) => (StatusCode::CONFLICT, "schema-taken", "Schema is taken"),
            E::HasDependents { .. } => {
                let title = "Other objects depend on the tenant";
                return Self::new(StatusCode::CONFLICT, "has-dependents", title)
                    .detail(format!("{error} (`?cascade=true`)"));
            }
            E::Transfer(error) => match error {
                TransferError::TooMany { .. } => {
                    return Self::busy("too-many-copies", "Too many tenants are being copied");
                }
                TransferError::Differs(_) | TransferError::LargeObjects { .. } => {
                    (StatusCode::CONFLICT, "not-copyable", "Tenant cannot be copied")
                }
                TransferError::Write(_) | TransferError::TooFewConnections => {
                    return Self::internal();
                }
                _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-export", "Export not acceptable"),
            },
            E::HostTaken(_) => (StatusCode::CONFLICT, "host-taken", "Host name is taken"),
            E::HostBelowBase(_) | E::TooManyTags(_) | E::Name(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-name", "Name not acceptable")
            }
            E::Misuse(Misuse::TooManyParameters { .. }) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "too-many-values", "Too many values")
            }
            E::Misuse(Misuse::Value { .. } | Misuse::Encoding { .. }) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "value-not-storable", "Value cannot be stored")
            }
            E::Metadata(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-metadata", "Metadata not acceptable")
            }
            E::UnknownDomain { .. } | E::UnknownApiKey(_) => {
                (StatusCode::NOT_FOUND, "not-found", "Not found")
            }
            E::InvalidApiKey { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-key", "Key not acceptable")
            }
            other => {
                return match other.db_error_kind() {
                    Some(
                        DbErrorKind::SerializationConflict
                        | DbErrorKind::LockTimeout
                        | DbErrorKind::StaleStatement,
                    ) => Self::busy("conflict", "Conflict with a concurrent change"),
                    Some(
                        DbErrorKind::Timeout
                        | DbErrorKind::PoolTimeout
                        | DbErrorKind::Unavailable
                        | DbErrorKind::Refused,
                    ) => Self::busy("unavailable", "Database not available"),
                    // Just dropped by another process, or never migrated: the log says which.
                    Some(DbErrorKind::UndefinedTable) => {
                        Self::busy("not-ready", "Tenant not ready")
                    }
                    _ => Self::internal(),
                };
            }
        };
        Self::new(status, kind, title).detail(error.to_string())
    }

    /// The answer of `/health` if the database fails: with the reason, but without names of the
    /// installation.
    pub(crate) fn of_health(error: &tenantry::Error) -> Self {
        let problem = Self::of_tenancy(error);
        match error.cause() {
            Some(cause) => problem.detail(format!("no connection to the database: {cause}")),
            None => problem,
        }
    }
}

/// The invalid fields of a validation.
#[must_use]
pub fn field_errors(errors: &ValidationErrors) -> Vec<FieldError> {
    let errors = errors.field_errors().into_iter();
    errors
        .flat_map(|(field, errors)| {
            errors.iter().map(move |error| FieldError {
                field: field.to_string(),
                code: error.code.clone(),
                message: error.message.as_deref().unwrap_or("is not valid").to_owned(),
            })
        })
        .collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
        // Cannot fail: strings, numbers and lists of both.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        let challenge = self.challenge.and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use tenantry::{Busy, Error as E, ReadOnlyTenant, TenantUnavailable};

    use super::*;

    #[test]
    fn every_error_has_its_status_and_hides_its_cause() {
        let slug = || "tenant-1".parse::<tenantry::Slug>().unwrap();
        let refused = |availability| E::Unavailable(TenantUnavailable::new(slug(), availability));
        let host = || "guards.example.org".parse::<tenantry::Hostname>().unwrap();
        let secret = || sea_orm_error("password=hunter2");
        for (error, status, kind) in [
            (E::UnknownTenant(slug()), 404, "unknown-tenant"),
            (E::UnknownHost("x".into()), 404, "unknown-host"),
            (E::ReservedHost("www".into()), 421, "reserved-host"),
            (refused(Availability::Suspended), 403, "suspended"),
            (refused(Availability::Archived), 410, "archived"),
            (refused(Availability::Dropped), 404, "unknown-tenant"),
            (refused(Availability::Behind), 503, "tenant-behind"),
            (refused(Availability::Ahead), 503, "tenant-ahead"),
            (E::Busy(Busy::new(slug(), 200)), 503, "tenant-busy"),
            (E::ReadOnlyTenant(ReadOnlyTenant::new(slug())), 503, "tenant-read-only"),
            (E::SlugTaken(slug()), 409, "slug-taken"),
            (
                E::SlugReserved {
                    slug: slug(),
                    until: chrono::DateTime::UNIX_EPOCH,
                    tenant: "secret".parse().unwrap(),
                },
                409,
                "slug-reserved",
            ),
            (
                E::GraceNotOver { slug: slug(), purge_after: chrono::DateTime::UNIX_EPOCH },
                409,
                "grace-not-over",
            ),
            (
                E::HasDependents { slug: slug(), dependents: vec!["view report.both".into()] },
                409,
                "has-dependents",
            ),
            (E::Transfer(TransferError::TooMany { limit: 3 }), 503, "too-many-copies"),
            (E::Transfer(TransferError::Differs(vec!["x".into()])), 409, "not-copyable"),
            (E::Transfer(TransferError::ManifestChanged), 422, "invalid-export"),
            (E::Transfer(TransferError::TooFewConnections), 500, "internal"),
            (E::HostTaken(host()), 409, "host-taken"),
            (E::HostBelowBase(host()), 422, "invalid-name"),
            (E::TooManyTags(51), 422, "invalid-name"),
            (E::UnknownDomain { slug: slug(), hostname: host() }, 404, "not-found"),
            (E::UnknownApiKey("tnt_0".into()), 404, "not-found"),
            (E::InvalidApiKey { rule: "it has no scope" }, 422, "invalid-key"),
            (E::Misuse(Misuse::TooManyParameters { count: 65_536 }), 422, "too-many-values"),
            (
                E::Misuse(Misuse::Value { number: 1, reason: String::new() }),
                422,
                "value-not-storable",
            ),
            (E::Misuse(Misuse::TransactionControl { keyword: "BEGIN" }), 500, "internal"),
            (E::RegistryBehind { pending: 1 }, 500, "internal"),
            (E::Owner(OwnerError::OtherDatabase), 500, "internal"),
            (E::Owner(OwnerError::Unreachable("password=hunter2".into())), 503, "unavailable"),
            (E::ReadOnlyServer { standby: true }, 503, "standby"),
            (E::ReadOnlyServer { standby: false }, 503, "read-only"),
            (secret(), 500, "internal"),
        ] {
            let text = error.to_string();
            let problem = Problem::of_tenancy(&error);
            assert_eq!(problem.status.as_u16(), status, "{text}");
            assert_eq!(problem.kind, format!("urn:tenantry:problem:{kind}"), "{text}");
            assert_eq!(problem.retry_after.is_some(), status == 503, "{text}");
            let body = serde_json::to_string(&problem).unwrap();
            assert!(!body.contains("secret"), "{body}");
            if status >= 500 {
                assert!(!body.contains(&text) && !body.contains("hunter2"), "{body}");
            }
        }
    }

    /// An error with something in it that no client may see.
    fn sea_orm_error(text: &str) -> E {
        let text = text.to_owned();
        E::Migration(tenantry_migrate::Error::MissingSchema { schema: text })
    }
}
