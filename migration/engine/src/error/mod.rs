pub(crate) mod lock_holders;
pub(crate) mod privilege;
mod text;

use sea_orm::DbErr;
use tenantry_registry::SchemaName;
use thiserror::Error;

use crate::{DbErrorKind, ExtensionError, LockHolder, connect::TRANSACTION_MODE, name_dependents};
pub use text::describe;
use text::{
    KEPT, TRANSACTION_ENDED, bare_names, control_reason, message, outside_reason, rights, waited,
};

/// Why a schema was not provisioned or migrated. The transaction was rolled back in every case.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The schema to migrate is not there.
    #[error(
        "schema \"{schema}\" does not exist in this database; nothing was changed (create it with \
         CREATE SCHEMA \"{schema}\", or create the tenant)"
    )]
    MissingSchema {
        /// Name of the schema.
        schema: String,
    },

    /// The registry has not been made in this database.
    #[error("this database has no registry; run `migration up --registry` (nothing was changed)")]
    MissingRegistry,

    /// The schema has migrations that this program does not know: it is newer than the program.
    #[error(
        "schema \"{schema}\" has migrations that this program does not contain ({}): use the newer \
         program (nothing was changed)",
        names.join(", ")
    )]
    UnknownMigrations {
        /// Name of the schema.
        schema: String,
        /// The migrations on record that are unknown.
        names: Vec<String>,
    },

    /// The registry has breaking migrations that this program does not know.
    #[error(
        "the registry has migrations that this program cannot work with ({}): use the newer program \
         (nothing was changed)",
        names.join(", ")
    )]
    RegistryAhead {
        /// Those migrations.
        names: Vec<String>,
    },

    /// Somebody else is migrating the schema.
    #[error(
        "another program is migrating schema \"{schema}\"; try again when it is done (nothing was changed)"
    )]
    Busy {
        /// Name of the schema.
        schema: String,
    },

    /// The tenant whose schema is to be migrated is being dropped.
    #[error(
        "schema \"{schema}\" belongs to a tenant that is being dropped; drop the tenant again to \
         finish that (nothing was changed)"
    )]
    Dropping {
        /// Name of the schema.
        schema: String,
    },

    /// The registry belongs to another application.
    #[error(
        "the registry of this database belongs to the application {registry:?}, but this program is \
         {program:?}; use the database of this application (after its name was changed: UPDATE \
         registry.application SET name = '{program}')"
    )]
    OtherApplication {
        /// Application that the registry belongs to.
        registry: String,
        /// Application of the program.
        program: String,
    },

    /// The schema to provision is there already.
    #[error(
        "schema \"{schema}\" exists already, but belongs to no tenant; look what it holds, \
         and rename it (ALTER SCHEMA \"{schema}\" RENAME TO …) or choose another slug"
    )]
    SchemaExists {
        /// Name of the schema.
        schema: SchemaName,
    },

    /// A migration left `search_path` pointing elsewhere.
    #[error(
        "migration {migration} of schema \"{schema}\" changed search_path to {found}; remove the \
         SET search_path from it"
    )]
    ScopeLost {
        /// Name of the schema that was being migrated.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// `search_path` after it.
        found: String,
    },

    /// Something has come to be outside the schema that is migrated.
    #[error("migration {migration} of schema \"{schema}\" {}", outside_reason(objects, *rolled_back))]
    MadeOutside {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// The objects outside the schema.
        objects: Vec<String>,
        /// Whether they are gone again. Those of a migration outside a transaction are not.
        rolled_back: bool,
    },

    /// A new schema has a function that does not find its tables when a tenant's statement calls it.
    #[error(
        "migration {migration} of schema \"{schema}\" {}",
        bare_names(function, names, callers)
    )]
    BareNames {
        /// Name of the schema.
        schema: String,
        /// Name of the migration that made the function.
        migration: String,
        /// Name and arguments of the function.
        function: String,
        /// The names in its body that have no schema.
        names: Vec<String>,
        /// The triggers, defaults, policies and so on that call it.
        callers: Vec<String>,
    },

    /// A migration sent a statement that begins or ends a transaction. It was not sent to the
    /// server, and what came before it in the same transaction was rolled back.
    #[error("migration {migration} of schema \"{schema}\" {}", control_reason(statement))]
    TransactionControl {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// The statement.
        statement: String,
    },

    /// A migration has ended the transaction that it was part of, in a way that was not seen
    /// before. What it did until then is committed.
    #[error("migration {migration} of schema \"{schema}\" {TRANSACTION_ENDED}")]
    TransactionEnded {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
    },

    /// A migration panicked.
    #[error(
        "migration {migration} panicked in schema \"{schema}\", which is as it was before it: {message}"
    )]
    Panicked {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// What the panic says.
        message: String,
    },

    /// Statements sent on one connection reach different sessions of the server.
    #[error(
        "migration {migration} of schema \"{schema}\" runs outside a transaction and needs a session \
         of its own, but the connection {TRANSACTION_MODE}"
    )]
    SharedSession {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
    },

    /// The registry cannot be dropped while tenants depend on it.
    #[error(
        "the registry holds {tenants} tenants whose schemas would be left without an owner; drop \
         the tenants first (nothing was changed)"
    )]
    RegistryInUse {
        /// Number of tenants.
        tenants: u64,
    },

    /// Objects outside the schema depend on it and would be dropped with it.
    #[error(
        "objects outside schema \"{schema}\" depend on it and would be dropped with it: {}; drop \
         them first, or insist with --cascade (nothing was changed)",
        name_dependents(dependents)
    )]
    HasDependents {
        /// Name of the schema.
        schema: String,
        /// The objects, as PostgreSQL describes them.
        dependents: Vec<String>,
    },

    /// There is no migration of this name.
    #[error(
        "there is no migration {version}; `migration list` shows those there are (nothing was changed)"
    )]
    UnknownVersion {
        /// What was asked for.
        version: String,
    },

    /// The migrator calls a migration breaking that it does not have.
    #[error(
        "breaking() names {name:?}, which is no migration, so nothing would be refused for its sake; \
         `migration list` shows those there are (nothing was changed)"
    )]
    UnknownBreaking {
        /// The name.
        name: String,
    },

    /// Nobody has the tag of the canaries, so nobody would go first.
    #[error(
        "no tenant has the tag {tag:?}; canaries are the tenants whose metadata has it in `tags` \
         (nothing was changed)"
    )]
    NoCanary {
        /// The tag.
        tag: String,
    },

    /// A migration failed.
    #[error(
        "migration {migration} failed in schema \"{schema}\", {}: {}",
        if *rolled_back { "which is as it was before it" } else { KEPT },
        describe(source)
    )]
    Migration {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// What the migration ran into.
        #[source]
        source: DbErr,
        /// Whether all that the migration did is undone. Outside a transaction it is not.
        rolled_back: bool,
    },

    /// The role may not do what a migration, or the run itself, does.
    #[error("{error}; {}", rights(role, owners.as_deref()))]
    Privilege {
        /// What failed.
        #[source]
        error: Box<Error>,
        /// The role of the connection.
        role: String,
        /// The owners of the schema and of what it holds.
        owners: Option<String>,
    },

    /// A statement outside a transaction has waited too long for others, see
    /// [`Timeouts::snapshot`](crate::Timeouts::snapshot).
    #[error("{error}; {}", waited(holders))]
    Waited {
        /// What failed.
        #[source]
        error: Box<Error>,
        /// The sessions that it waited for, the oldest transaction first.
        holders: Vec<LockHolder>,
    },

    /// The statements of a migration depend on data, so they cannot be shown without running it.
    #[error(
        "migration {migration} of schema \"{schema}\" cannot be shown without running it: {}",
        describe(source)
    )]
    NotPrintable {
        /// Name of the schema.
        schema: String,
        /// Name of the migration.
        migration: String,
        /// What the recording ran into.
        #[source]
        source: DbErr,
    },

    /// The extensions that the migrator declares cannot be used.
    #[error("{0} (nothing was changed)")]
    Extension(#[from] ExtensionError),

    /// Any other error of the database.
    #[error("{}", describe(.0))]
    Database(#[from] DbErr),
}

impl Error {
    /// The migration that failed, where it is one.
    #[must_use]
    pub fn migration(&self) -> Option<&str> {
        match self {
            Self::Migration { migration, .. }
            | Self::TransactionControl { migration, .. }
            | Self::TransactionEnded { migration, .. }
            | Self::Panicked { migration, .. }
            | Self::SharedSession { migration, .. }
            | Self::ScopeLost { migration, .. }
            | Self::MadeOutside { migration, .. }
            | Self::BareNames { migration, .. }
            | Self::NotPrintable { migration, .. } => Some(migration),
            Self::Privilege { error, .. } | Self::Waited { error, .. } => error.migration(),
            _ => None,
        }
    }

    /// The kind of database failure behind it, if there is one.
    #[must_use]
    pub fn db_error_kind(&self) -> Option<DbErrorKind> {
        self.database().map(DbErrorKind::of)
    }

    /// The SQLSTATE that the server sent, if it did.
    #[must_use]
    pub fn sqlstate(&self) -> Option<String> {
        self.database().and_then(DbErrorKind::sqlstate)
    }

    /// What went wrong, without what [`migration`](Self::migration), [`sqlstate`](Self::sqlstate)
    /// and the tenant's name tell already.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::TransactionControl { statement, .. } => control_reason(statement),
            Self::TransactionEnded { .. } => TRANSACTION_ENDED.to_owned(),
            Self::MadeOutside { objects, rolled_back, .. } => outside_reason(objects, *rolled_back),
            Self::BareNames { function, names, callers, .. } => {
                bare_names(function, names, callers)
            }
            Self::Panicked { message, .. } => format!("panicked: {message}"),
            Self::Privilege { error, role, owners } => {
                format!("{}; {}", error.reason(), rights(role, owners.as_deref()))
            }
            Self::Waited { error, holders } => format!("{}; {}", error.reason(), waited(holders)),
            _ => self.database().map_or_else(|| self.to_string(), message),
        }
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
