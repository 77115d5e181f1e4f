use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

/// Why the schemas were not verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A tenant that was named does not exist.
    #[error("there is no tenant {0}; `tenantry tenant list` shows those there are")]
    UnknownTenant(Slug),
    /// There is no registry to tell which schemas there are.
    #[error("the registry is not migrated; run `migration up --registry` first")]
    NoRegistry,
    /// The schema that was named does not exist; the reference could not be built, because a
    /// migration fails on an empty schema; or an error of the database.
    #[error(transparent)]
    Migration(#[from] crate::Error),
}

impl From<DbErr> for VerifyError {
    fn from(error: DbErr) -> Self {
        Self::Migration(error.into())
    }
}
