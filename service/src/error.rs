use sea_orm::DbErr;
use thiserror::Error;
use uuid::Uuid;
use validator::ValidationErrors;

/// Errors of the application's services.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The input is invalid; names all invalid fields.
    #[error("the input is not valid: {}", crate::input::summary(.0))]
    Invalid(#[from] ValidationErrors),

    /// The tenant has no such row.
    #[error("{noun} {id} not found in this tenant")]
    NotFound {
        /// Kind of the row, such as `guard`.
        noun: &'static str,
        /// Its key.
        id: Uuid,
    },

    /// The tenant is not available, or the database failed.
    #[error(transparent)]
    Tenancy(#[from] tenantry::Error),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Tenancy(error.into())
    }
}
