use serde::{Serialize, Serializer};
use tenantry_registry::{SchemaName, Slug};

use super::{AllowlistEntry, Change};

/// What [`verify`](fn@super::verify) has looked at and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Number of schemas that were looked at.
    pub schemas: usize,
    /// Number of those that differ from what their migrations make.
    pub drifted: usize,
    /// What is wrong, the most frequent difference first; empty when nothing is.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// Schemas that all differ in the same way from what their migrations make.
    Drift {
        /// The schemas, in the order of their names.
        tenants: Vec<SchemaRef>,
        /// In what they differ.
        difference: Vec<Change>,
        /// A migration whose outcome depends on the other schemas of the database. If there is
        /// one, the reference may be wrong instead of the tenants.
        #[serde(skip_serializing_if = "Option::is_none")]
        suspect_migration: Option<String>,
    },
    /// Schemas that could not be compared with what their migrations make.
    NotCompared {
        /// The schemas, in the order of their names.
        tenants: Vec<SchemaRef>,
        /// The newest migration on record in them that the program has.
        version: Option<String>,
        /// The migration that fails on an empty schema, if that is why.
        #[serde(skip_serializing_if = "Option::is_none")]
        migration: Option<String>,
        /// Why.
        reason: String,
    },
    /// A tenant that is being dropped. If the drop was interrupted, dropping the tenant again
    /// finishes it.
    Dropping {
        /// The tenant.
        #[serde(flatten)]
        tenant: SchemaRef,
    },
    /// An entry of the list of what is [allowed](super::Allowlist) that nothing was found for.
    UnusedAllowlistEntry {
        /// The entry.
        entry: AllowlistEntry,
    },
    /// A schema that looks like a tenant's, for it has the migrations table, but no row of the
    /// registry has it.
    SchemaWithoutRow {
        /// Name of the schema.
        schema: String,
    },
    /// A row of the registry whose schema does not exist.
    RowWithoutSchema {
        /// The tenant.
        #[serde(flatten)]
        tenant: SchemaRef,
    },
    /// A table, view or sequence in a schema of extensions that is not the extensions' own:
    /// statements of every tenant find it.
    TableInExtensionSchema {
        /// Name of the schema.
        schema: String,
        /// Name of the table.
        table: String,
    },
    /// A table in schema `public`, which holds none: it was made by accident, in the wrong scope.
    TableInPublic {
        /// Name of the table.
        table: String,
    },
}

/// What a finding is about: a tenant, or a schema without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct SchemaRef {
    /// Slug of the tenant, if the schema belongs to one.
    #[serde(serialize_with = "slug")]
    pub slug: Option<Slug>,
    /// The schema.
    #[serde(serialize_with = "schema")]
    pub schema: SchemaName,
}

impl Verification {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl std::fmt::Display for SchemaRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.slug {
            Some(slug) => f.write_str(slug.as_str()),
            None => f.write_str(self.schema.as_str()),
        }
    }
}

fn slug<S: Serializer>(slug: &Option<Slug>, serializer: S) -> Result<S::Ok, S::Error> {
    slug.as_ref().map(Slug::as_str).serialize(serializer)
}

fn schema<S: Serializer>(schema: &SchemaName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(schema.as_str())
}
