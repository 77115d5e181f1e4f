use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

use super::marker;

/// A statement on a tenant's handle names the schema of another tenant, and was not sent. Found
/// inside the [`DbErr`] that the handle returns, see [`OtherSchema::find`].
///
/// An entity that was generated from the tables of one tenant names that tenant's schema:
/// `sea-orm-cli generate entity -s tenant_1` writes `schema_name = "tenant_1"`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the statement names schema {schema:?} of another tenant, on the handle of tenant {slug}; write \
     \"@tenant\" in place of the schema, in an entity as schema_name = \"@tenant\""
)]
#[non_exhaustive]
pub struct OtherSchema {
    /// The tenant of the handle.
    pub slug: Slug,
    /// The schema that the statement names.
    pub schema: String,
}

impl OtherSchema {
    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<OtherSchema> for DbErr {
    fn from(other: OtherSchema) -> Self {
        marker::wrap(other)
    }
}
