use sea_orm::DbErr;
use thiserror::Error;
use uuid::Uuid;
use validator::ValidationErrors;

/// Why a call about a tenant's rows failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The input breaks its rules; every field that does is named.
    #[error("the input is not valid: {}", crate::input::summary(.0))]
    Invalid(#[from] ValidationErrors),

    /// There is no such row in this tenant.
    #[error("there is no {noun} {id} in this tenant")]
    NotFound {
        /// What was looked for, such as `guard`.
        noun: &'static str,
        /// Its key.
        id: Uuid,
    },

    /// The tenant cannot be resolved or may not be used.
    #[error(transparent)]
    Tenancy(#[from] tenantry::Error),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Tenancy(error.into())
    }
}
