use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

/// Why schemas could not be verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A tenant of [`VerifyTarget::Tenants`](super::VerifyTarget) does not exist.
    #[error("tenant \"{0}\" not found")]
    UnknownTenant(Slug),
    /// The registry does not exist.
    #[error("the registry is not migrated")]
    NoRegistry,
    /// The migrator has no tables that exist once.
    #[error("this application has no tables that exist once")]
    NoShared,
    /// The schema of [`VerifyTarget::Schema`](super::VerifyTarget) does not exist, or the database
    /// failed.
    #[error(transparent)]
    Migration(#[from] crate::Error),
}

impl From<DbErr> for VerifyError {
    fn from(error: DbErr) -> Self {
        Self::Migration(error.into())
    }
}
