use sea_orm::DbErr;
use thiserror::Error;
use uuid::Uuid;
use validator::ValidationErrors;

use tenantry as tenancy;

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
    Tenancy(#[from] tenancy::Error),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Tenancy(error.into())
    }
}

/// An error and everything it comes from, in one line; an error of the database is described as
/// the commands describe it.
#[must_use]
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let database = cause.downcast_ref::<DbErr>();
        let more = database.map_or_else(|| cause.to_string(), tenantry::describe);
        // Many errors repeat their source in their own text.
        if !text.contains(&more) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&more);
        }
        if database.is_some() {
            break;
        }
    }
    text
}
