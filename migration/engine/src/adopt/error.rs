use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

use crate::{Error, drift::Change, name_dependents};

/// Number of differences and objects in a message.
const SHOWN: usize = 20;

/// Why a schema cannot be adopted. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The schema belongs to PostgreSQL, to the registry, to extensions, or has the tables that exist
    /// once.
    #[error("schema {schema:?} belongs to {owner}; adopt another schema")]
    Reserved {
        /// Name of the schema.
        schema: String,
        /// What it belongs to.
        owner: &'static str,
    },

    /// The schema does not exist.
    #[error("schema {schema:?} does not exist in this database; check its name")]
    Missing {
        /// Name of the schema.
        schema: String,
    },

    /// A tenant has or had a schema of this name.
    #[error("schema {schema:?} {}", of_tenant(slug.as_ref(), *dropped))]
    OfTenant {
        /// Name of the schema.
        schema: String,
        /// The tenant; `None` for a spare.
        slug: Option<Slug>,
        /// Whether the tenant was dropped. The registry keeps the names of its schemas.
        dropped: bool,
    },

    /// Another program is creating a tenant with this schema.
    #[error("schema {schema:?} is being created for a tenant; try again later")]
    BeingCreated {
        /// Name of the schema.
        schema: String,
    },

    /// The schema has no tables.
    #[error(
        "schema {schema:?} has no tables, so there is nothing to adopt; check its name, or create the \
         tenant in a new schema"
    )]
    NoTables {
        /// Name of the schema.
        schema: String,
    },

    /// The schema or objects in it belong to other roles, so they could not be migrated or dropped.
    #[error(
        "role {role} does not own all of schema {schema:?}: {}; connect as the owner, or grant the \
         owner's role to {role}",
        name_dependents(objects)
    )]
    OtherOwner {
        /// Name of the schema.
        schema: String,
        /// The role of the connection.
        role: String,
        /// The objects with their owners.
        objects: Vec<String>,
    },

    /// The object with the name of the migrations table is no such table.
    #[error(
        "{table:?} of schema {schema:?} is not a migrations table: it has to be a table with a column \
         version; rename it"
    )]
    MigrationsTable {
        /// Name of the schema.
        schema: String,
        /// Name of the table.
        table: String,
    },

    /// The migrations table of the schema has migrations that the program does not have.
    #[error(
        "the migrations table of schema {schema:?} has migrations that this program does not have: \
         {}; use the program that has them, or correct the table",
        name_dependents(names)
    )]
    UnknownMigrations {
        /// Name of the schema.
        schema: String,
        /// The unknown migrations.
        names: Vec<String>,
    },

    /// The migrations table of the schema does not agree with the requested version.
    #[error(
        "the migrations table of schema {schema:?} {}, which is not version {version}; leave out the \
         version, or correct the table",
        recorded(names)
    )]
    OtherMigrations {
        /// Name of the schema.
        schema: String,
        /// The requested version.
        version: String,
        /// The migrations in the table.
        names: Vec<String>,
    },

    /// The migrations table has changed meanwhile.
    #[error("schema {schema:?} was migrated meanwhile; try again")]
    Changed {
        /// Name of the schema.
        schema: String,
    },

    /// The schema differs from what its migrations create.
    #[error("{}", differences(schema, version.as_deref(), changes))]
    Differences {
        /// Name of the schema.
        schema: String,
        /// The version that it was compared with.
        version: Option<String>,
        /// The differences.
        changes: Vec<Change>,
    },

    /// Objects of the schema cannot be moved, or would not work in another schema.
    #[error(
        "the objects of schema {schema:?} cannot be moved:{}",
        lines(objects.iter().map(|(object, reason)| format!("{object}: {reason}")))
    )]
    NotMovable {
        /// Name of the schema.
        schema: String,
        /// Each object with the reason and a remedy.
        objects: Vec<(String, String)>,
    },

    /// The table that lists tenants does not exist, or lacks the column.
    #[error("there is no table {table:?} with a column {column:?}; name the table of the tenants")]
    NoList {
        /// Name of the table.
        table: String,
        /// Name of the column.
        column: String,
    },

    /// Several tables may list the tenants.
    #[error("several tables may list the tenants: {}; name one of them", tables.join(", "))]
    SeveralLists {
        /// The tables.
        tables: Vec<String>,
    },

    /// A migration fails in an empty schema, there is no such version, another program migrates the
    /// schema, or the database failed.
    #[error(transparent)]
    Migration(Box<Error>),
}

impl From<Error> for AdoptError {
    fn from(error: Error) -> Self {
        Self::Migration(Box::new(error))
    }
}

impl From<DbErr> for AdoptError {
    fn from(error: DbErr) -> Self {
        Error::from(error).into()
    }
}

fn of_tenant(slug: Option<&Slug>, dropped: bool) -> String {
    match (slug, dropped) {
        (Some(slug), false) => format!("belongs to tenant {slug} already"),
        (Some(slug), true) => format!(
            "has the name of a schema of tenant {slug}, which was dropped; rename it, since the name \
             of a tenant's schema is not used again"
        ),
        (None, _) => "is a spare, which the next new tenant takes; adopt another schema".to_owned(),
    }
}

fn recorded(names: &[String]) -> String {
    match names {
        [] => "records no migration".to_owned(),
        names => format!("records {}", names.join(", ")),
    }
}

fn differences(schema: &str, version: Option<&str>, changes: &[Change]) -> String {
    let version = version.unwrap_or("no migration");
    format!(
        "schema {schema:?} differs from what the migrations create (version {version}):{}",
        lines(changes.iter().map(ToString::to_string))
    )
}

/// The first lines, indented, and the number of the others.
fn lines(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(SHOWN);
    let mut text: String = all.take(SHOWN).map(|line| format!("\n  {line}")).collect();
    if more > 0 {
        text += &format!("\n  … and {more} more");
    }
    text
}
