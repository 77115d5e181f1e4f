use sea_orm::DbErr;
use tenantry_registry::Slug;
use thiserror::Error;

use super::marker;

/// A statement was refused because so many of its tenant's statements wait for a connection
/// already ([`Config::max_waiting`](super::Config::max_waiting)). Found inside the [`DbErr`] that a
/// tenant handle returns, see [`Busy::find`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "tenant {slug} is busy: {waiting} of its statements wait for a connection already; try again \
     later"
)]
#[non_exhaustive]
pub struct Busy {
    /// The tenant.
    pub slug: Slug,
    /// How many of its statements wait.
    pub waiting: usize,
}

impl Busy {
    /// The refusal of a statement of a tenant of which `waiting` wait.
    #[must_use]
    pub fn new(slug: Slug, waiting: usize) -> Self {
        Self { slug, waiting }
    }

    /// The refusal inside an error of SeaORM, if it is one.
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
