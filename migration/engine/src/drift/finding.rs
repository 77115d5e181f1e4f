use serde::{Serialize, Serializer};
use tenantry_registry::{SchemaName, Slug};

use super::{AllowlistEntry, Change};
use crate::NodeAddress;

/// Result of [`verify`](fn@super::verify).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Number of inspected schemas.
    pub schemas: usize,
    /// Number of schemas that differ from their reference.
    pub drifted: usize,
    /// Findings, the most frequent difference first.
    pub findings: Vec<Finding>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// Schemas that differ from their reference in the same way.
    Drift {
        /// The schemas, ordered by name.
        tenants: Vec<SchemaRef>,
        /// The differences.
        difference: Vec<Change>,
        /// A migration whose result depends on other schemas of the database: the reference may be
        /// wrong instead of the tenants.
        #[serde(skip_serializing_if = "Option::is_none")]
        suspect_migration: Option<String>,
    },
    /// Schemas that could not be compared.
    NotCompared {
        /// The schemas, ordered by name.
        tenants: Vec<SchemaRef>,
        /// Their newest applied migration that this build has.
        version: Option<String>,
        /// The migration that fails on an empty schema, if that is the reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        migration: Option<String>,
        /// Why.
        reason: String,
    },
    /// Schemas that were not inspected, because the node with their tables cannot be reached.
    Unreachable {
        /// The schemas, ordered by name.
        tenants: Vec<SchemaRef>,
        /// The node, if the database tells which it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<NodeAddress>,
        /// The error of the first of them.
        reason: String,
    },
    /// A tenant that is being dropped. If the drop was interrupted, dropping the tenant again
    /// finishes it.
    Dropping {
        /// The tenant.
        #[serde(flatten)]
        tenant: SchemaRef,
    },
    /// An entry of the [`Allowlist`](super::Allowlist) without a finding.
    UnusedAllowlistEntry {
        /// The entry.
        entry: AllowlistEntry,
    },
    /// A schema with a migrations table and without a registry row.
    SchemaWithoutRow {
        /// Name of the schema.
        schema: String,
    },
    /// A registry row without a schema.
    RowWithoutSchema {
        /// The tenant.
        #[serde(flatten)]
        tenant: SchemaRef,
    },
    /// A table, view or sequence in a schema of extensions that belongs to no extension: statements
    /// of every tenant find it.
    TableInExtensionSchema {
        /// Name of the schema.
        schema: String,
        /// Name of the table.
        table: String,
    },
    /// A table in schema `public`, probably created by accident.
    TableInPublic {
        /// Name of the table.
        table: String,
    },
}

/// A tenant, or a schema without a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct SchemaRef {
    /// The tenant's slug, if the schema belongs to a tenant.
    #[serde(serialize_with = "slug")]
    pub slug: Option<Slug>,
    /// The schema.
    #[serde(serialize_with = "schema")]
    pub schema: SchemaName,
}

impl Verification {
    /// Whether there are no findings.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.schemas += other.schemas;
        self.drifted += other.drifted;
        self.findings.extend(other.findings);
        self
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
