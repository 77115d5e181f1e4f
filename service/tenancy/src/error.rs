use sea_orm::DbErr;
use tenantry_migrate::{
    LockHolder,
    connect::{Cause, ConnectError},
    name_dependents,
};
use tenantry_registry::{Hostname, NameError, SchemaName, Slug};
use thiserror::Error;

use super::{Busy, Misuse, OtherSchema, TenantUnavailable};
use crate::DbErrorKind;

/// Why a tenant could not be resolved, made, changed or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such tenant.
    #[error("there is no tenant {0}; look for it in the list of tenants, or create it")]
    UnknownTenant(Slug),

    /// The host name leads to no tenant.
    #[error("no tenant is served at {0:?}")]
    UnknownHost(String),

    /// The host name is kept back from tenants.
    #[error("{0:?} is a reserved host name, not a tenant's")]
    ReservedHost(String),

    /// The tenant may not be used: it is suspended, archived or dropped.
    #[error(transparent)]
    Unavailable(#[from] TenantUnavailable),

    /// Too many statements of the tenant wait for a connection already.
    #[error(transparent)]
    Busy(#[from] Busy),

    /// A statement names the schema of another tenant.
    #[error(transparent)]
    OtherSchema(#[from] OtherSchema),

    /// A tenant of this name is there already.
    #[error("the slug {0} is taken; choose another")]
    SlugTaken(Slug),

    /// The schema that the tenant would have is in the database, but belongs to no tenant.
    #[error(
        "the schema \"{0}\" exists already, but belongs to no tenant; look what it holds, \
         and rename it (ALTER SCHEMA \"{0}\" RENAME TO …) or choose another slug"
    )]
    SchemaTaken(SchemaName),

    /// Another program works on the tenant, and nothing was changed.
    #[error(
        "tenant {0} is being changed by another program, perhaps migrated; try again when that has \
         ended (nothing was changed)"
    )]
    BeingMigrated(Slug),

    /// Objects outside the tenant's schema depend on it and would be dropped with it.
    #[error(
        "objects outside the schema of tenant {slug} depend on it and would be dropped with it: {}; \
         drop them first, or insist with --cascade (over HTTP: ?cascade=true)",
        name_dependents(dependents)
    )]
    HasDependents {
        /// The tenant.
        slug: Slug,
        /// The objects, as PostgreSQL describes them.
        dependents: Vec<String>,
    },

    /// The tenant is refused from now on, but other sessions use its tables, so these could not be
    /// dropped yet.
    #[error(
        "tenant {slug} is refused from now on, but its tables are still in use{}; when that has \
         ended, drop the tenant again to continue",
        by(holders)
    )]
    DropBlocked {
        /// The tenant.
        slug: Slug,
        /// The sessions that have locks on its tables.
        holders: Vec<LockHolder>,
    },

    /// The host name leads to a tenant already.
    #[error("the host name {0} is taken; remove it from its tenant first")]
    HostTaken(Hostname),

    /// The host name is below the base domain, where every name is a slug.
    #[error(
        "the host name {0} is below the base domain, where tenants are found by their slug; give \
         one of another domain"
    )]
    HostBelowBase(Hostname),

    /// The tenant has no such host name.
    #[error(
        "tenant {slug} has no host name {hostname}; `tenantry tenant domain list {slug}` shows those it has"
    )]
    UnknownDomain {
        /// The tenant.
        slug: Slug,
        /// The host name.
        hostname: Hostname,
    },

    /// The tenant would have more tags than [`NewTenant::MAX_TAGS`](super::NewTenant::MAX_TAGS).
    #[error(
        "{0} tags are too many, a tenant has at most {max}; leave some out",
        max = super::NewTenant::MAX_TAGS
    )]
    TooManyTags(usize),

    /// A statement was refused before it was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),

    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),

    /// The registry has not been migrated to what this build needs.
    #[error("the registry is behind by {pending} migrations; run `migration up --registry`")]
    RegistryBehind {
        /// Number of migrations that are missing.
        pending: usize,
    },

    /// The server accepts no writes.
    #[error("{}", read_only(*.standby))]
    ReadOnlyServer {
        /// Whether it is a standby; else `default_transaction_read_only` is on.
        standby: bool,
    },

    /// What this process announces does not come back to it, so it would not hear of others either.
    /// A pooler in transaction mode does that, and it would also mix up prepared statements.
    #[error(
        "announcements (LISTEN and NOTIFY) do not arrive; connect to PostgreSQL itself, or to a \
         pooler in session mode"
    )]
    NoAnnouncements,

    /// A migration failed while the tenant was made.
    #[error(transparent)]
    Migration(tenantry_migrate::Error),

    /// The application's seed failed, so the tenant was not created.
    #[error("tenant {slug} was not created, as it could not be given its first rows: {source}")]
    Seed {
        /// The tenant.
        slug: Slug,
        /// What the seed ran into.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// There is no connection to the database.
    #[error(transparent)]
    Connect(#[from] ConnectError),

    /// Any other error of the database; [`DbErrorKind::of`] sorts it.
    #[error("{}", reported(.0))]
    Database(#[source] DbErr),
}

impl Error {
    /// Why there is no connection, if that is what is wrong.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Database(error)
            | Self::Migration(tenantry_migrate::Error::Database(error))
            | Self::Connect(ConnectError::Unreachable { source: error, .. }) => Cause::of(error),
            _ => None,
        }
    }

    /// The kind of database failure behind the error, if there is one.
    #[must_use]
    pub fn db_error_kind(&self) -> Option<DbErrorKind> {
        match self {
            Self::Database(error) => Some(DbErrorKind::of(error)),
            Self::Migration(
                tenantry_migrate::Error::Database(error)
                | tenantry_migrate::Error::Migration { source: error, .. },
            ) => Some(server_fault(DbErrorKind::of(error))),
            Self::Seed { source, .. } => fault_in(source.as_ref()).map(server_fault),
            Self::Connect(_) | Self::ReadOnlyServer { .. } => Some(DbErrorKind::Unavailable),
            Self::BeingMigrated(_) | Self::DropBlocked { .. } => Some(DbErrorKind::LockTimeout),
            _ => None,
        }
    }
}

/// Whom a drop waits for.
fn by(holders: &[LockHolder]) -> String {
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    if holders.is_empty() { String::new() } else { format!(" by {}", holders.join(", ")) }
}

fn read_only(standby: bool) -> &'static str {
    match standby {
        true => {
            "this server is a standby and accepts no writes; connect to the primary, or promote \
             this server"
        }
        false => {
            "this server is read-only (default_transaction_read_only is on); connect to the \
             primary, or turn the setting off"
        }
    }
}

/// A creation never asks for a read-only transaction, so the server is at fault for one.
fn server_fault(fault: DbErrorKind) -> DbErrorKind {
    match fault {
        DbErrorKind::ReadOnly => DbErrorKind::Unavailable,
        other => other,
    }
}

fn reported(error: &DbErr) -> String {
    match error {
        DbErr::Conn(_) => tenantry_migrate::describe(error),
        _ => format!("the database reports an error: {}", tenantry_migrate::describe(error)),
    }
}

/// The kind of database failure that an application's error comes from.
fn fault_in(error: &(dyn std::error::Error + 'static)) -> Option<DbErrorKind> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref()).next().map(DbErrorKind::of)
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if let Some(refused) = TenantUnavailable::find(&error) {
            return Self::Unavailable(refused.clone());
        }
        if let Some(other) = OtherSchema::find(&error) {
            return Self::OtherSchema(other.clone());
        }
        match (Misuse::find(&error), Busy::find(&error)) {
            (Some(misuse), _) => Self::Misuse(misuse.clone()),
            (_, Some(busy)) => Self::Busy(busy.clone()),
            _ => Self::Database(error),
        }
    }
}

impl From<tenantry_migrate::Error> for Error {
    fn from(error: tenantry_migrate::Error) -> Self {
        match error {
            tenantry_migrate::Error::Database(error) => error.into(),
            tenantry_migrate::Error::SchemaExists { schema } => Self::SchemaTaken(schema),
            other => Self::Migration(other),
        }
    }
}
