//! The problem of each error of the engine.

use axum::http::StatusCode;
use chrono::SecondsFormat;
use tenantry::{Availability, DbErrorKind, Misuse, NodeError, OwnerError, TransferError};

use super::Problem;

impl Problem {
    /// 501: the server may not create and drop schemas, and this is intended.
    fn owner_required() -> Self {
        let title = "Server may not create or drop schemas";
        Self::new(StatusCode::NOT_IMPLEMENTED, "owner-required", title).detail(
            "this server runs without the rights of the database's owner; use the command line \
             with TENANTRY_OWNER_URL, or start the server with it",
        )
    }

    /// 501: the database is not a cluster.
    fn no_nodes() -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-nodes", "Database has no nodes").detail(
            "the database is one PostgreSQL server; tenants are placed on nodes by Citus 12.1 or \
             newer",
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
            E::Owner(OwnerError::Required { .. } | OwnerError::NotOwner { .. }) => {
                return Self::owner_required();
            }
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
            E::GraceNotOver { slug, .. } => {
                let title = "Data is to be kept";
                return Self::new(StatusCode::CONFLICT, "grace-not-over", title).detail(format!(
                    "{error} (`POST /admin/tenants/{slug}/purge` with `{{\"force\": true}}`)"
                ));
            }
            E::SchemaTaken(_) => (StatusCode::CONFLICT, "schema-taken", "Schema is taken"),
            E::HasDependents { slug, .. } => {
                let title = "Other objects depend on the tenant";
                return Self::new(StatusCode::CONFLICT, "has-dependents", title).detail(format!(
                    "{error} (`DELETE /admin/tenants/{slug}?cascade=true`, or for an archived \
                         tenant `POST /admin/tenants/{slug}/purge` with `{{\"cascade\": true}}`)"
                ));
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
            E::Node(error) => match error {
                NodeError::NoCluster => return Self::no_nodes(),
                NodeError::UnknownNode { .. } => {
                    (StatusCode::UNPROCESSABLE_ENTITY, "unknown-node", "Unknown node")
                }
                _ => (StatusCode::CONFLICT, "not-movable", "Tenant cannot be moved"),
            },
            E::HostTaken(_) => (StatusCode::CONFLICT, "host-taken", "Host name is taken"),
            E::HostBelowBase(_) | E::TooManyTags(_) | E::TooManyOrigins(_) | E::Name(_) => {
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
                    // The node with the tenant's tables; others are served.
                    Some(DbErrorKind::NodeUnavailable) => {
                        Self::busy("tenant-unreachable", "Tenant not reachable")
                    }
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

    /// The answer to a clone whose source is at fault; for an import, the export is.
    pub(crate) fn of_clone(error: &tenantry::Error) -> Option<Self> {
        use TransferError as T;
        let tenantry::Error::Transfer(T::UnknownMigrations { .. } | T::Refused { .. }) = error
        else {
            return None;
        };
        let (status, title) = (StatusCode::CONFLICT, "Tenant cannot be copied");
        Some(Self::new(status, "not-copyable", title).detail(error.to_string()))
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

#[cfg(test)]
mod tests {
    use tenantry::{Busy, Error as E, ReadOnlyTenant, TenantId, TenantUnavailable};

    use super::*;

    #[test]
    fn every_error_has_its_status_and_hides_its_cause() {
        let slug = || "tenant-1".parse::<tenantry::Slug>().unwrap();
        let id = TenantId::generate();
        let refused =
            |availability| E::Unavailable(TenantUnavailable::new(id, slug(), availability));
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
                E::GraceNotOver { slug: slug(), purge_after: Some(chrono::DateTime::UNIX_EPOCH) },
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
            (E::Node(NodeError::NoCluster), 501, "no-nodes"),
            (
                E::Node(NodeError::UnknownNode { node: "x".into(), nodes: Vec::new() }),
                422,
                "unknown-node",
            ),
            (
                E::Node(NodeError::NoKey { slug: slug(), tables: vec!["visits".into()] }),
                409,
                "not-movable",
            ),
            (E::HostTaken(host()), 409, "host-taken"),
            (E::HostBelowBase(host()), 422, "invalid-name"),
            (E::TooManyTags(51), 422, "invalid-name"),
            (E::TooManyOrigins(51), 422, "invalid-name"),
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
