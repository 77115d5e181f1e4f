use std::io;

use sea_orm::DbErr;

use crate::{DbErrorKind, Error};

/// Why a tenant could not be exported, imported or cloned. Nothing was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The export cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[source] io::Error),

    /// The export cannot be read.
    #[error("the export cannot be read: {0}")]
    Read(#[source] io::Error),

    /// The export ends too early.
    #[error("the export is incomplete: it ends before {expected:?}; export the tenant again")]
    Truncated {
        /// The missing entry.
        expected: String,
    },

    /// The input is not an export, or was changed.
    #[error(
        "this is not an export of a tenant, or it was changed: {expected:?} is expected where there \
         is something else; use the file as the export has written it"
    )]
    NotAnExport {
        /// The entry that is expected.
        expected: String,
    },

    /// Entries are missing or in another order.
    #[error(
        "the export has entry {found:?} where {expected:?} is expected; use the file as the export \
         has written it"
    )]
    WrongEntry {
        /// The entry that is expected.
        expected: String,
        /// The entry that was found.
        found: String,
    },

    /// An entry cannot be read.
    #[error("entry {entry:?} of the export is not valid: {reason}")]
    Malformed {
        /// The entry.
        entry: String,
        /// Why.
        reason: String,
    },

    /// The export has another format.
    #[error(
        "the export has format {found}, and this program reads format {known}; use the release \
         that wrote it"
    )]
    Format {
        /// Format of the export.
        found: u64,
        /// Format of this program.
        known: u32,
    },

    /// The export is of another application.
    #[error(
        "the export is of application {export:?}, and this program is {program:?}; import it with \
         the application that wrote it"
    )]
    OtherApplication {
        /// Application of the export.
        export: String,
        /// This application.
        program: String,
    },

    /// The tenant has migrations that this program does not have.
    #[error(
        "the tenant has migrations that this program does not know: {}; use a release that has them",
        .names.join(", ")
    )]
    UnknownMigrations {
        /// The migrations.
        names: Vec<String>,
    },

    /// The tables differ from those that the migrations create.
    #[error(
        "the tables of the tenant are not those that the migrations create: {}; change the tenant \
         or the migrations until they agree",
        .0.join("; ")
    )]
    Differs(Vec<String>),

    /// Rows were lost or changed on the way.
    #[error("table {table:?} of the export is damaged: {reason}; export the tenant again")]
    Damaged {
        /// The table.
        table: String,
        /// The difference.
        reason: String,
    },

    /// The manifest was changed.
    #[error("the manifest of the export does not match its checksum; export the tenant again")]
    ManifestChanged,

    /// The database refuses the rows, which may have been changed.
    #[error("{of} cannot be loaded: {}", tenantry_migrate::describe(source))]
    Refused {
        /// The rows or constraints.
        of: String,
        /// The error of the database.
        source: DbErr,
    },

    /// Rows refer to large objects, which belong to no schema.
    #[error(
        "column {column:?} of table {table:?} refers to large objects, which are not part of a \
         schema; store the data in the table (bytea)"
    )]
    LargeObjects {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },

    /// Too many tenants are copied at the same time.
    #[error(
        "other tenants are being copied, and copies take at most {limit} connections at a time; try \
         again later"
    )]
    TooMany {
        /// Maximum number of connections of all copies. A clone takes two.
        limit: usize,
    },

    /// A clone needs two connections.
    #[error(
        "cloning a tenant takes two connections, and the pool allows one; allow three connections \
         or more (max_connections)"
    )]
    TooFewConnections,
}

/// The error of loading `of`: a refusal if the rows are at fault.
pub(super) fn not_loaded(of: impl Into<String>, error: Error) -> Error {
    match error {
        // Data exceptions and violated constraints (PostgreSQL manual, Appendix A).
        Error::Database(source)
            if DbErrorKind::sqlstate(&source)
                .is_some_and(|state| state.starts_with("22") || state.starts_with("23")) =>
        {
            TransferError::Refused { of: of.into(), source }.into()
        }
        other => other,
    }
}
