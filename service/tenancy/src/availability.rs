use std::fmt;

use sea_orm::DbErr;
use tenantry_registry::{Slug, tenant};
use thiserror::Error;

use super::marker;

/// Whether a tenant may be used, as the process knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Availability {
    /// It may be used.
    Active,
    /// It is suspended.
    Suspended,
    /// It is archived.
    Archived,
    /// Migrations that this build relies on have not been applied to its schema.
    Behind,
    /// A breaking migration that this build does not know was applied to its schema.
    Ahead,
    /// It is no more.
    Dropped,
}

/// A statement was refused because its tenant may not be used. Found inside the [`DbErr`] that a
/// tenant handle returns, see [`TenantUnavailable::find`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct TenantUnavailable {
    /// The tenant.
    pub slug: Slug,
    /// Why it may not be used.
    pub availability: Availability,
    /// When the tenant is behind, the newest migration before which none is missing in its schema;
    /// when it is ahead, the breaking one that this build does not know.
    pub applied: Option<String>,
    /// When the tenant is behind or ahead, the newest migration that this build knows.
    pub newest: Option<String>,
    /// When the tenant is behind, the newest migration of its schema that this build does not know,
    /// if there is one: what brings it up is a build that has both.
    pub unknown: Option<String>,
}

impl Availability {
    /// The state as a word, such as `suspended`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Dropped => "dropped",
        }
    }

    /// The state that `as u8` has made a byte.
    pub(super) fn from_stored(byte: u8) -> Self {
        [Self::Active, Self::Suspended, Self::Archived, Self::Behind, Self::Ahead]
            .into_iter()
            .find(|availability| *availability as u8 == byte)
            .unwrap_or(Self::Dropped)
    }
}

impl From<tenant::Status> for Availability {
    fn from(status: tenant::Status) -> Self {
        match status {
            tenant::Status::Active => Self::Active,
            tenant::Status::Suspended => Self::Suspended,
            tenant::Status::Archived => Self::Archived,
            // A tenant never becomes a spare again; whatever had this id is gone.
            tenant::Status::Spare | tenant::Status::Dropping | tenant::Status::Dropped => {
                Self::Dropped
            }
        }
    }
}

impl fmt::Display for TenantUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slug, availability, unknown, .. } = self;
        let [applied, newest] =
            [&self.applied, &self.newest].map(|name| name.as_deref().unwrap_or("no migration"));
        match availability {
            Availability::Behind => write!(
                f,
                "tenant {slug} is behind: its schema is at {applied}, this program needs {newest}; \
                 run `migration up --tenant {slug}`{}",
                unknown.iter().fold(String::new(), |text, unknown| {
                    text + " of a program that also has " + unknown + ", which its schema has"
                })
            ),
            Availability::Ahead => write!(
                f,
                "tenant {slug} is too new for this program, which is at {newest}: its schema has \
                 {applied}, and programs without that cannot work with it; use the newer program"
            ),
            other => write!(f, "tenant {slug} is {}", other.as_str()),
        }
    }
}

impl TenantUnavailable {
    /// The refusal of a tenant for a state that needs no more words.
    #[must_use]
    pub fn new(slug: Slug, availability: Availability) -> Self {
        Self { slug, availability, applied: None, newest: None, unknown: None }
    }

    /// The refusal inside an error of SeaORM, if that is what it is.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<TenantUnavailable> for DbErr {
    fn from(refused: TenantUnavailable) -> Self {
        marker::wrap(refused)
    }
}
