mod text;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use tenantry_migrate::{
    LockHolder,
    adopt::AdoptError,
    connect::{Cause, ConnectError},
    name_dependents,
};
use tenantry_registry::{Hostname, NameError, SchemaName, Slug, TenantId};
use thiserror::Error;

use super::{
    Busy, InvalidTransition, MetadataError, Misuse, NodeError, OtherSchema, OwnerError,
    PoolerError, ReadOnlyTenant, TenantUnavailable, TransferError,
};
use crate::DbErrorKind;
use text::{by, kept, message, not_migrated, of_tenant, read_only, seconds};

/// Why a tenant could not be resolved, created, changed or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The tenant does not exist.
    #[error("tenant \"{0}\" not found")]
    UnknownTenant(Slug),

    /// No tenant has or has had this id.
    #[error("tenant with id {0} not found")]
    UnknownTenantId(TenantId),

    /// The host belongs to no tenant.
    #[error("no tenant found for host {0:?}")]
    UnknownHost(String),

    /// The host is reserved.
    #[error("host {0:?} is reserved")]
    ReservedHost(String),

    /// The tenant is suspended, archived, dropped, or does not fit this build.
    #[error(transparent)]
    Unavailable(#[from] TenantUnavailable),

    /// The tenant is read-only.
    #[error(transparent)]
    ReadOnlyTenant(#[from] ReadOnlyTenant),

    /// Too many statements of the tenant are waiting for a connection.
    #[error(transparent)]
    Busy(#[from] Busy),

    /// A statement names the schema of another tenant.
    #[error(transparent)]
    OtherSchema(#[from] OtherSchema),

    /// Another tenant has the slug.
    #[error("slug {0} is already taken; choose another one")]
    SlugTaken(Slug),

    /// The slug is reserved for a tenant that was renamed.
    #[error(
        "slug {slug} is reserved until {} for tenant {tenant}, which had it before; choose another \
         one",
        seconds(until)
    )]
    SlugReserved {
        /// The slug.
        slug: Slug,
        /// Until when.
        until: DateTime<Utc>,
        /// The tenant.
        tenant: Slug,
    },

    /// The tenant's schema exists, but belongs to no tenant.
    #[error(
        "schema \"{0}\" exists but belongs to no tenant; adopt it as the schema of this tenant, or \
         choose another slug"
    )]
    SchemaTaken(SchemaName),

    /// A schema cannot be adopted. Nothing was changed.
    #[error(transparent)]
    Adopt(AdoptError),

    /// A schema was not adopted because other sessions use its tables. Nothing was changed.
    #[error(
        "schema {schema:?} was not adopted, because its tables are in use{}; nothing was changed, try \
         again later",
        by(holders)
    )]
    AdoptBlocked {
        /// Name of the schema.
        schema: String,
        /// The sessions that have locks on its tables.
        holders: Vec<LockHolder>,
    },

    /// Another program has locked the tenant. Nothing was changed.
    #[error(
        "tenant {0} is locked by another program, which may be migrating it; nothing was changed, \
         try again later"
    )]
    BeingMigrated(Slug),

    /// Objects outside the tenant's schema depend on it and would be dropped with it.
    #[error(
        "objects outside the schema of tenant {slug} depend on it and would be dropped with it: {}; \
         drop them first, or drop the tenant with cascade",
        name_dependents(dependents)
    )]
    HasDependents {
        /// The tenant.
        slug: Slug,
        /// The objects, as PostgreSQL describes them.
        dependents: Vec<String>,
    },

    /// The tenant is not available any more, but its tables could not be dropped because other
    /// sessions use them.
    #[error(
        "tenant {slug} is marked as dropped, but its tables are still in use{}; drop it again to \
         continue",
        by(holders)
    )]
    DropBlocked {
        /// The tenant.
        slug: Slug,
        /// The sessions that have locks on its tables.
        holders: Vec<LockHolder>,
    },

    /// The tenant's status does not allow the change. Nothing was changed.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),

    /// The data of an archived tenant is to be kept longer. Nothing was changed.
    #[error(
        "tenant {slug} is archived, and its data is kept {}, or purge it with force",
        kept(purge_after.as_ref())
    )]
    GraceNotOver {
        /// The tenant.
        slug: Slug,
        /// When its grace ends, if that is known.
        purge_after: Option<DateTime<Utc>>,
    },

    /// A tenant has the hostname.
    #[error("hostname {0} is already taken; remove it from its tenant first")]
    HostTaken(Hostname),

    /// The hostname is below the base domain, where tenants are found by their slug.
    #[error(
        "hostname {0} is below the base domain, where tenants are found by their slug; use another \
         domain"
    )]
    HostBelowBase(Hostname),

    /// The tenant does not have the hostname.
    #[error("tenant {slug} does not have hostname {hostname}")]
    UnknownDomain {
        /// The tenant.
        slug: Slug,
        /// The hostname.
        hostname: Hostname,
    },

    /// No API key has this id or prefix.
    #[error("API key {0:?} not found")]
    UnknownApiKey(String),

    /// An API key cannot be created like this.
    #[error("the API key was not created: {rule}")]
    InvalidApiKey {
        /// What is wrong, and what to do.
        rule: &'static str,
    },

    /// The operating system gave no random numbers.
    #[error("the API key was not created, because there are no random numbers: {0}")]
    NoRandomNumbers(#[source] std::io::Error),

    /// The tenant would have more tags than [`NewTenant::MAX_TAGS`](super::NewTenant::MAX_TAGS).
    #[error("{0} tags are too many; a tenant has at most {max}", max = super::NewTenant::MAX_TAGS)]
    TooManyTags(usize),

    /// The tenant would have more origins than
    /// [`HttpSettings::MAX_ORIGINS`](super::HttpSettings::MAX_ORIGINS).
    #[error(
        "{0} origins are too many; a tenant has at most {max}",
        max = super::HttpSettings::MAX_ORIGINS
    )]
    TooManyOrigins(usize),

    /// A tenant cannot have this metadata.
    #[error(transparent)]
    Metadata(#[from] MetadataError),

    /// The stored metadata of a tenant does not fit the type of the application.
    #[error("the metadata of tenant {slug} cannot be read: {source}")]
    UnreadableMetadata {
        /// The tenant.
        slug: Slug,
        /// The error.
        source: MetadataError,
    },

    /// A statement was refused before it was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),

    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),

    /// The registry lacks migrations of this build.
    #[error("the registry is behind by {pending} migrations; migrate it first")]
    RegistryBehind {
        /// Number of migrations that are missing.
        pending: usize,
    },

    /// The shared tables, which exist once, lack migrations of this build.
    #[error(
        "the shared tables in schema \"{schema}\" are behind by {pending} migrations; migrate them \
         first"
    )]
    SharedBehind {
        /// The schema of the shared tables.
        schema: SchemaName,
        /// Number of migrations that are missing.
        pending: usize,
    },

    /// The server accepts no writes.
    #[error("{}", read_only(*.standby))]
    ReadOnlyServer {
        /// Whether it is a standby; otherwise `default_transaction_read_only` is on.
        standby: bool,
    },

    /// The process does not receive its own notification, so it would not receive those of others.
    /// A pooler in transaction mode causes that, and would also mix up prepared statements.
    #[error(
        "LISTEN and NOTIFY do not work: this process did not receive its own notification; connect \
         to PostgreSQL itself, or to a pooler in session mode"
    )]
    NoNotifications,

    /// Tenants' statements cannot go through the pooler.
    #[error(transparent)]
    Pooler(#[from] PoolerError),

    /// The role of this program may not create and drop schemas, and its owner cannot be used.
    /// Nothing was changed.
    #[error(transparent)]
    Owner(#[from] OwnerError),

    /// A migration failed while the tenant was created.
    #[error(transparent)]
    Migration(tenantry_migrate::Error),

    /// Tenants could not be migrated.
    #[error("{}", not_migrated(failures, *not_started))]
    TenantsNotMigrated {
        /// The tenants that failed, by slug (spares by schema), each with its error.
        failures: Vec<(String, String)>,
        /// Number of tenants that were not started, because the server became unreachable or the
        /// role lacks a privilege.
        not_started: usize,
    },

    /// The application's seed failed, so the tenant was not created.
    #[error("tenant {slug} was not created because its seed failed: {source}")]
    Seed {
        /// The tenant.
        slug: Slug,
        /// The error of the seed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A tenant could not be exported, imported or cloned.
    #[error(transparent)]
    Transfer(#[from] TransferError),

    /// A tenant is not placed or moved.
    #[error(transparent)]
    Node(#[from] NodeError),

    /// One of several tenants failed.
    #[error("{}", of_tenant(slug, source))]
    OfTenant {
        /// The tenant.
        slug: Slug,
        /// The error.
        source: Box<Self>,
    },

    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),

    /// Any other database error. [`DbErrorKind::of`] classifies it.
    #[error("{}", message(.0))]
    Database(#[source] DbErr),
}

impl Error {
    /// Why the database cannot be reached, if that is the error.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Database(error)
            | Self::Migration(tenantry_migrate::Error::Database(error))
            | Self::Connect(ConnectError::Unreachable { source: error, .. }) => Cause::of(error),
            Self::OfTenant { source, .. } => source.cause(),
            _ => None,
        }
    }

    /// The kind of the database error that caused this one, if there is one.
    #[must_use]
    pub fn db_error_kind(&self) -> Option<DbErrorKind> {
        match self {
            Self::Database(error) => Some(DbErrorKind::of(error)),
            Self::Migration(
                tenantry_migrate::Error::Database(error)
                | tenantry_migrate::Error::Migration { source: error, .. },
            ) => Some(server_fault(DbErrorKind::of(error))),
            Self::Seed { source, .. } => fault_in(source.as_ref()).map(server_fault),
            Self::OfTenant { source, .. } => source.db_error_kind(),
            Self::Connect(_)
            | Self::ReadOnlyServer { .. }
            | Self::Owner(OwnerError::Unreachable(_)) => Some(DbErrorKind::Unavailable),
            Self::BeingMigrated(_) | Self::DropBlocked { .. } | Self::AdoptBlocked { .. } => {
                Some(DbErrorKind::LockTimeout)
            }
            _ => None,
        }
    }
}

/// A creation never uses a read-only transaction, so the server is read-only.
fn server_fault(fault: DbErrorKind) -> DbErrorKind {
    match fault {
        DbErrorKind::ReadOnly => DbErrorKind::Unavailable,
        other => other,
    }
}

/// The kind of the database error that caused an application's error.
fn fault_in(error: &(dyn std::error::Error + 'static)) -> Option<DbErrorKind> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref()).next().map(DbErrorKind::of)
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if let Some(unavailable) = TenantUnavailable::find(&error) {
            Self::Unavailable(unavailable.clone())
        } else if let Some(read_only) = ReadOnlyTenant::find(&error) {
            Self::ReadOnlyTenant(read_only.clone())
        } else if let Some(other) = OtherSchema::find(&error) {
            Self::OtherSchema(other.clone())
        } else if let Some(misuse) = Misuse::find(&error) {
            Self::Misuse(misuse.clone())
        } else if let Some(owner) = OwnerError::find(&error) {
            Self::Owner(owner.clone())
        } else if let Some(busy) = Busy::find(&error) {
            Self::Busy(busy.clone())
        } else {
            Self::Database(error)
        }
    }
}

impl From<AdoptError> for Error {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Migration(error) => (*error).into(),
            other => Self::Adopt(other),
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
