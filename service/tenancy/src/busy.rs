use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

use super::marker;

/// A statement was refused because too many statements of its tenant are waiting for a connection
/// ([`Config::max_waiting`](super::Config::max_waiting)). Found inside the [`DbErr`] that a tenant
/// handle returns, see [`Busy::find`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "tenant {slug} is busy: {waiting} of its statements are waiting for a connection; try again \
     later"
)]
#[non_exhaustive]
pub struct Busy {
    /// The tenant.
    pub slug: Slug,
    /// Number of its statements that are waiting.
    pub waiting: usize,
}

impl Busy {
    /// The error for a tenant of which `waiting` statements are waiting.
    #[must_use]
    pub fn new(slug: Slug, waiting: usize) -> Self {
        Self { slug, waiting }
    }

    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<Busy> for DbErr {
    fn from(busy: Busy) -> Self {
        marker::wrap(busy)
    }
}
