use std::fmt;

use sea_orm::DbErr;
use tenantry_registry::{Slug, TenantId, tenant};
use thiserror::Error;

use super::marker;

/// Whether a tenant can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Availability {
    /// It can be used.
    Active,
    /// It is suspended.
    Suspended,
    /// It is archived.
    Archived,
    /// Its schema lacks migrations that this build relies on.
    Behind,
    /// Its schema has a breaking migration that this build does not know.
    Ahead,
    /// It is dropped, or being dropped.
    Dropped,
}

/// A statement was refused because its tenant is not available. Found inside the [`DbErr`] that a
/// tenant handle returns, see [`TenantUnavailable::find`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct TenantUnavailable {
    /// The tenant.
    pub id: TenantId,
    /// Its slug.
    pub slug: Slug,
    /// Why it is not available.
    pub availability: Availability,
    /// If the tenant is behind, the newest migration of its schema up to which none is missing; if
    /// it is ahead, the breaking migration that this build does not know.
    pub applied: Option<String>,
    /// If the tenant is behind or ahead, the newest migration that this build knows.
    pub newest: Option<String>,
    /// If the tenant is behind, the newest migration of its schema that this build does not know, if
    /// there is one: only a build that knows both can migrate it.
    pub unknown: Option<Box<str>>,
}

impl Availability {
    /// The availability as a word, such as `suspended`.
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

    /// The inverse of `as u8`.
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
            // A tenant never becomes a spare, so the one with this id is gone.
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
        match (availability, unknown) {
            (Availability::Behind, None) => write!(
                f,
                "tenant {slug} is behind: its schema is at {applied}, but this program needs \
                 {newest}; migrate the tenant"
            ),
            (Availability::Behind, Some(unknown)) => write!(
                f,
                "tenant {slug} is behind: its schema is at {applied}, but this program needs \
                 {newest}; migrate the tenant with a program that also has {unknown}, which is \
                 applied to the schema"
            ),
            (Availability::Ahead, _) => write!(
                f,
                "tenant {slug} is ahead: its schema has the breaking migration {applied}, but this \
                 program is at {newest}; use a program that has the migration"
            ),
            (other, _) => write!(f, "tenant {slug} is {}", other.as_str()),
        }
    }
}

impl TenantUnavailable {
    /// The error for a tenant that is neither behind nor ahead.
    #[must_use]
    pub fn new(id: TenantId, slug: Slug, availability: Availability) -> Self {
        Self { id, slug, availability, applied: None, newest: None, unknown: None }
    }

    /// Returns the error inside an error of SeaORM, if there is one.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}

impl From<TenantUnavailable> for DbErr {
    fn from(unavailable: TenantUnavailable) -> Self {
        marker::wrap(unavailable)
    }
}
