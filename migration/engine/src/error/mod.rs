//! Errors of migrations.

pub(crate) mod lock_holders;
pub(crate) mod privilege;
mod reason;
mod text;

use sea_orm::DbErr;
use tenantry_registry::SchemaName;
use thiserror::Error;

use crate::{DbErrorKind, ExtensionError, LockHolder, connect::TRANSACTION_MODE};
use text::{
    NOT_ROLLED_BACK, TRANSACTION_ENDED, control_reason, outside_reason, placeholder_hint, rights,
    unqualified_names, waited,
};
pub use text::{describe, name_dependents};

/// Error of the creation or migration of a schema. The transaction is rolled back, unless a variant says
/// otherwise.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The schema to migrate does not exist.
    #[error(
        "schema \"{schema}\" does not exist in this database. Create it with CREATE SCHEMA \
         \"{schema}\", or create the tenant"
    )]
    MissingSchema {
        /// Name of the schema.
        schema: String,
    },

    /// The database has no registry.
    #[error("this database has no registry")]
    MissingRegistry,

    /// The registry has no table for audit entries yet, which migrations of tenants write.
    #[error("the registry has pending migrations. Apply them before those of tenants")]
    RegistryBehind,

    /// The schema of the tables that exist once does not exist.
    #[error("this database has no schema \"{schema}\" for the tables that exist once")]
    MissingShared {
        /// Name of the schema.
        schema: String,
    },

    /// A tenant has, or has had, the schema that is to hold the tables that exist once.
    #[error(
        "schema \"{schema}\" is or was the schema of a tenant. Choose another schema for the tables \
         that exist once (SharedMigrator::in_schema)"
    )]
    SharedSchemaTaken {
        /// Name of the schema.
        schema: String,
    },

    /// Citus keeps the tables that exist once on a node, or on several.
    #[error(
        "schema \"{schema}\" is distributed by Citus, but its tables must be on the coordinator. Run \
         SELECT citus_schema_undistribute('{schema}'), and undistribute_table for tables that were \
         distributed one by one"
    )]
    Distributed {
        /// Name of the schema.
        schema: String,
    },

    /// The schema of the shared tables is not that of a tenant.
    #[error(
        "schema \"{schema}\" has the tables that exist once, which have migrations of their own. No \
         tenant's migrations run in it"
    )]
    SharedSchema {
        /// Name of the schema.
        schema: SchemaName,
    },

    /// The schema has migrations that this program does not have: it is newer than the program.
    #[error(
        "schema \"{schema}\" has migrations that this program does not have: {}. Use a newer program",
        names.join(", ")
    )]
    UnknownMigrations {
        /// Name of the schema.
        schema: String,
        /// The migrations on record that are unknown.
        names: Vec<String>,
    },

    /// The registry has breaking migrations that this program does not have.
    #[error(
        "the registry has breaking migrations that this program does not have: {}. Use a newer program",
        names.join(", ")
    )]
    RegistryAhead {
        /// The migrations.
        names: Vec<String>,
    },

    /// Another program is migrating the schema.
    #[error("another program is migrating schema \"{schema}\". Try again when it is done")]
    Busy {
        /// Name of the schema.
        schema: String,
    },

    /// The tenant whose schema is to be migrated is being dropped.
    #[error(
        "schema \"{schema}\" belongs to a tenant that is being dropped. Drop the tenant again to finish"
    )]
    Dropping {
        /// Name of the schema.
        schema: String,
    },

    /// The registry belongs to another application.
    #[error(
        "the registry of this database belongs to the application {registry:?}, but this program is \
         {program:?}. Use the database of this application. If the application was renamed: UPDATE \
         registry.application SET name = '{program}'"
    )]
    OtherApplication {
        /// Application that the registry belongs to.
        registry: String,
        /// Application of the program.
        program: String,
    },

    /// The schema to create exists.
    #[error(
        "schema \"{schema}\" exists, but does not belong to a tenant. Adopt it as the schema of the \
         tenant, or choose another slug"
    )]
    SchemaExists {
        /// Name of the schema.
        schema: SchemaName,
    },

    /// A migration changed `search_path`.
    #[error(
        "migration {migration} of schema \"{schema}\" changed search_path to {found}. Remove SET \
         search_path from the migration"
    )]
    SearchPathChanged {
        /// Name of the schema that was being migrated.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// `search_path` after it.
        found: String,
    },

    /// A migration created objects outside its schema.
    #[error("migration {migration} of schema \"{schema}\" {}", outside_reason(objects, *rolled_back))]
    CreatedOutside {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// The objects outside the schema.
        objects: Vec<String>,
        /// Whether they were rolled back; not those of a non-transactional migration.
        rolled_back: bool,
    },

    /// A function in a new schema does not find its tables when a tenant's statement calls it.
    #[error(
        "migration {migration} of schema \"{schema}\" {}",
        unqualified_names(function, names, callers)
    )]
    UnqualifiedNames {
        /// Name of the schema.
        schema: String,
        /// Name of the migration that created the function.
        migration: String,
        /// Name and arguments of the function.
        function: String,
        /// The names without a schema in its body.
        names: Vec<String>,
        /// The triggers, defaults, policies and so on that call it.
        callers: Vec<String>,
    },

    /// A migration tried to begin or end the transaction. The statement was not sent, and the
    /// transaction was rolled back.
    #[error("migration {migration} of schema \"{schema}\" {}", control_reason(statement))]
    TransactionControl {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// The statement.
        statement: String,
    },

    /// A migration ended its transaction by a statement that was not recognized. Its changes up to
    /// then are committed.
    #[error("migration {migration} of schema \"{schema}\" {TRANSACTION_ENDED}")]
    TransactionEnded {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
    },

    /// A migration panicked.
    #[error("migration {migration} panicked in schema \"{schema}\" and was rolled back: {message}")]
    Panicked {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// Message of the panic.
        message: String,
    },

    /// Statements of one connection reach different sessions of the server.
    #[error(
        "migration {migration} of schema \"{schema}\" runs outside a transaction and needs its own \
         session, but the connection {TRANSACTION_MODE}"
    )]
    SharedSession {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
    },

    /// The registry cannot be dropped while it has tenants.
    #[error("the registry still contains {tenants} tenants. Drop them first")]
    RegistryInUse {
        /// Number of tenants.
        tenants: u64,
    },

    /// Objects outside the schema depend on it and would be dropped with it.
    #[error(
        "objects outside schema \"{schema}\" depend on it and would be dropped with it: {}. Drop \
         them first",
        name_dependents(dependents)
    )]
    HasDependents {
        /// Name of the schema.
        schema: String,
        /// The objects, as PostgreSQL describes them.
        dependents: Vec<String>,
    },

    /// No migration has this name.
    #[error("migration {version} not found")]
    UnknownVersion {
        /// The requested version.
        version: String,
    },

    /// The migrator lists a breaking migration that it does not have.
    #[error("breaking() lists {name:?}, but the migrator has no migration of that name")]
    UnknownBreaking {
        /// The name.
        name: String,
    },

    /// No tenant has the tag of the canaries.
    #[error(
        "no tenant has the tag {tag:?}. Canaries are the tenants with the tag in `tags` of their \
         metadata"
    )]
    NoCanary {
        /// The tag.
        tag: String,
    },

    /// A migration failed.
    #[error(
        "migration {migration} failed in schema \"{schema}\" ({}): {}{}",
        if *rolled_back { "rolled back" } else { NOT_ROLLED_BACK },
        describe(source),
        placeholder_hint(source)
    )]
    Migration {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// The error of the migration.
        #[source]
        source: DbErr,
        /// Whether the migration was rolled back; not if it is non-transactional.
        rolled_back: bool,
    },

    /// The role lacks a privilege for a migration or for the run.
    #[error("{error}. {}", rights(role, owners.as_deref()))]
    Privilege {
        /// The failure.
        #[source]
        error: Box<Error>,
        /// The role of the connection.
        role: String,
        /// The owners of the schema and its objects.
        owners: Option<String>,
    },

    /// A non-transactional statement waited too long for other transactions, see
    /// [`Timeouts::snapshot`](crate::Timeouts::snapshot).
    #[error("{error}. {}", waited(holders))]
    Waited {
        /// The failure.
        #[source]
        error: Box<Error>,
        /// The sessions that it waited for, oldest transaction first.
        holders: Vec<LockHolder>,
    },

    /// The statements of a migration depend on data, so a dry run cannot print them.
    #[error(
        "migration {migration} of schema \"{schema}\" cannot be printed without running it: {}",
        describe(source)
    )]
    NotPrintable {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// The error of the dry run.
        #[source]
        source: DbErr,
    },

    /// The extensions that the migrator declares cannot be used.
    #[error(transparent)]
    Extension(#[from] ExtensionError),

    /// Any other error of the database.
    #[error("{}", describe(.0))]
    Database(#[from] DbErr),
}

impl Error {
    /// The migration that failed, if a migration failed.
    #[must_use]
    pub fn migration(&self) -> Option<&str> {
        match self {
            Self::Migration { migration, .. }
            | Self::TransactionControl { migration, .. }
            | Self::TransactionEnded { migration, .. }
            | Self::Panicked { migration, .. }
            | Self::SharedSession { migration, .. }
            | Self::SearchPathChanged { migration, .. }
            | Self::CreatedOutside { migration, .. }
            | Self::UnqualifiedNames { migration, .. }
            | Self::NotPrintable { migration, .. } => Some(migration),
            Self::Privilege { error, .. } | Self::Waited { error, .. } => error.migration(),
            _ => None,
        }
    }

    /// The kind of the database error, if it is one.
    #[must_use]
    pub fn db_error_kind(&self) -> Option<DbErrorKind> {
        self.database().map(DbErrorKind::of)
    }

    /// The SQLSTATE that the server sent, if it did.
    #[must_use]
    pub fn sqlstate(&self) -> Option<String> {
        self.database().and_then(DbErrorKind::sqlstate)
    }

    fn database(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error)
            | Self::Migration { source: error, .. }
            | Self::Extension(ExtensionError::NotMade { source: error, .. }) => Some(error),
            Self::Privilege { error, .. } | Self::Waited { error, .. } => error.database(),
            _ => None,
        }
    }
}
