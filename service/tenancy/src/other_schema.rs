use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

use super::marker;

/// A statement on a tenant's handle names the schema of another tenant, or one on the connection to
/// shared tables names that of any tenant, and was not sent. Found inside the [`DbErr`] that the
/// handle returns, see [`OtherSchema::find`].
///
/// An entity that was generated from the tables of one tenant names that tenant's schema:
/// `sea-orm-cli generate entity -s tenant_1` writes `schema_name = "tenant_1"`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", message(.slug.as_ref(), .schema))]
#[non_exhaustive]
pub struct OtherSchema {
    /// The tenant of the handle; `None` on the connection to shared tables.
    pub slug: Option<Slug>,
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

fn message(slug: Option<&Slug>, schema: &str) -> String {
    match slug {
        Some(slug) => format!(
            "the statement names schema {schema:?} of another tenant, on the handle of tenant \
             {slug}; write \"@tenant\" in place of the schema, in an entity as schema_name = \
             \"@tenant\""
        ),
        None => format!(
            "the statement names schema {schema:?} of a tenant, on the connection to shared tables; \
             send it on the handle of that tenant"
        ),
    }
}
