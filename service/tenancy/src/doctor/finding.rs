use serde::Serialize;
use tenantry_registry::{Slug, TenantId};

use crate::tenant_info::{as_text, perhaps_as_text};

/// Something that is half done, or stray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind.
    pub kind: FindingKind,
    /// The tenant, if it concerns one.
    pub tenant: Option<String>,
    /// The schema, if it concerns one.
    pub schema: Option<String>,
    /// What was found, in one sentence.
    pub message: String,
    /// What helps.
    pub remedy: Remedy,
}

/// The kind of a [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A drop was not finished.
    UnfinishedDrop,
    /// A creation was interrupted, and has left a schema.
    UnfinishedCreation,
    /// The schema of a tenant does not exist.
    MissingSchema,
    /// A schema has the application's tables, and does not belong to a tenant.
    OrphanSchema,
    /// A schema is named like that of a tenant, and does not belong to one.
    SimilarSchema,
    /// An index is invalid.
    InvalidIndex,
    /// Tenants lack migrations.
    Behind,
    /// Spares lack migrations, so that no tenant is made of them.
    SpareBehind,
    /// Tenants have migrations that this program does not have.
    UnknownVersion,
    /// The last migration of a tenant failed.
    MigrationFailed,
    /// The program may not do with the tables of a tenant what the application's role may.
    MissingRights,
    /// Hostnames, earlier slugs or keys belong to a tenant that was dropped.
    StrayRows,
    /// The grace of an archived tenant has ended.
    ExpiredArchive,
}

/// What helps against a [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// [`Tenancy::drop`](crate::Tenancy::drop) finishes the drop.
    FinishDrop {
        /// The tenant.
        #[serde(serialize_with = "as_text")]
        tenant: Slug,
    },
    /// The schema is removed: it belongs to no tenant, and no program has used it.
    RemoveUnfinished {
        /// The schema.
        schema: String,
    },
    /// The row of the spare is removed.
    RemoveSpare {
        /// The schema that is missing.
        schema: String,
    },
    /// The hostnames, earlier slugs and keys of the tenant, which was dropped, are removed.
    RemoveRows {
        /// Id of the tenant.
        tenant_id: TenantId,
    },
    /// [`Tenancy::purge`](crate::Tenancy::purge) drops the tenant.
    Purge {
        /// The tenant.
        #[serde(serialize_with = "as_text")]
        tenant: Slug,
    },
    /// The schema is restored from a backup, or the tenant is dropped.
    RestoreOrDrop {
        /// The tenant.
        #[serde(serialize_with = "as_text")]
        tenant: Slug,
    },
    /// The schema is adopted as a tenant, or dropped by a person.
    AdoptOrDrop {
        /// The schema.
        schema: String,
    },
    /// A person decides.
    Inspect {
        /// The schema.
        schema: String,
    },
    /// The tenant is migrated, or all.
    Migrate {
        /// The tenant.
        #[serde(serialize_with = "perhaps_as_text")]
        tenant: Option<Slug>,
    },
    /// A newer program is used.
    UpdateProgram,
    /// This SQL is run.
    Sql {
        /// The statement.
        sql: String,
    },
}

impl Remedy {
    /// Whether [`Tenancy::fix`](crate::Tenancy::fix) applies it: no data of a tenant is lost that was
    /// not to be dropped already.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(
            self,
            Self::FinishDrop { .. }
                | Self::RemoveUnfinished { .. }
                | Self::RemoveSpare { .. }
                | Self::RemoveRows { .. }
        )
    }
}
