//! Errors of extensions.

use sea_orm::DbErr;
use thiserror::Error;

use super::Extension;
use crate::{DbErrorKind, describe};

/// Error of the extensions of a migrator. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// An extension is declared with an invalid name or schema.
    #[error("extensions() declares {extension:?} in schema {schema:?}: {reason}", extension = .extension.name(), schema = .extension.schema())]
    Unusable {
        /// The extension.
        extension: Extension,
        /// Why it is invalid.
        reason: String,
    },

    /// An extension is not installed.
    #[error(
        "extension \"{extension}\" is not installed in this database. An administrator can run: {}",
        by_hand(extension)
    )]
    Missing {
        /// The extension.
        extension: Extension,
    },

    /// An extension is installed in another schema than the declared one.
    #[error(
        "extension \"{extension}\" is installed in schema \"{found}\", but extensions() declares it \
         in \"{}\". Declare it with in_schema(\"{found}\"), or have its owner run: {}ALTER EXTENSION \
         \"{extension}\" SET SCHEMA \"{}\"",
        extension.schema(), create_schema(extension), extension.schema()
    )]
    Elsewhere {
        /// The extension.
        extension: Extension,
        /// The schema that it is installed in.
        found: String,
    },

    /// The role of this program may not use the schema of an extension.
    #[error(
        "role \"{role}\" may not use schema \"{schema}\" of extension \"{extension}\". Have its owner \
         run: GRANT USAGE ON SCHEMA \"{schema}\" TO \"{role}\"", schema = .extension.schema()
    )]
    NoUsage {
        /// The extension.
        extension: Extension,
        /// The role.
        role: String,
    },

    /// The schema of an extension contains tables that are not the extension's own: statements of
    /// every tenant would find them.
    #[error(
        "schema \"{schema}\" is declared by extensions() and contains {}, which statements of every \
         tenant would find. Move them to another schema (ALTER TABLE … SET SCHEMA …), or have the \
         extension moved (ALTER EXTENSION … SET SCHEMA …)",
        tables.join(", ")
    )]
    HoldsTables {
        /// Name of the schema.
        schema: String,
        /// Its tables, views and sequences, or some of them.
        tables: Vec<String>,
    },

    /// An extension could not be installed.
    #[error(
        "extension \"{extension}\" cannot be installed in schema \"{}\": {}. {}",
        extension.schema(), describe(source), remedy(extension, source)
    )]
    NotMade {
        /// The extension.
        extension: Extension,
        /// The error of the server.
        #[source]
        source: DbErr,
    },
}

fn remedy(extension: &Extension, source: &DbErr) -> String {
    match DbErrorKind::sqlstate(source).as_deref() {
        // insufficient_privilege
        Some("42501") => format!("Have an administrator run: {}", by_hand(extension)),
        // undefined_file, feature_not_supported: the server does not have the extension.
        Some("58P01" | "0A000") if !of_another_schema(source) => {
            "Install its package on the server (Debian: postgresql-contrib or a separate one), or \
             allow it in the settings of the managed service"
                .to_owned()
        }
        _ if of_another_schema(source) => "Declare that schema with in_schema(…)".to_owned(),
        _ => format!("After fixing the cause, run: {}", by_hand(extension)),
    }
}

/// Whether the control file of the extension fixes another schema: "extension … must be installed in
/// schema …".
fn of_another_schema(source: &DbErr) -> bool {
    DbErrorKind::sqlstate(source).as_deref() == Some("0A000")
        && source.to_string().contains("must be installed in schema")
}

fn create_schema(extension: &Extension) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS \"{}\"; ", extension.schema())
}

fn by_hand(extension: &Extension) -> String {
    create_schema(extension) + &extension.create_sql()
}
