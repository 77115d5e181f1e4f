use std::{
    borrow::Cow,
    sync::atomic::{AtomicU8, Ordering},
};

use entity::registry::{SchemaName, Slug, TenantId, tenant};
use sea_orm::{DbErr, RuntimeErr, Statement, sqlx};
use thiserror::Error;

use super::placeholder;

/// What all handles of one tenant share: where its tables are, and whether it may be used.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: TenantId,
    pub(super) slug: Slug,
    pub(super) schema: SchemaName,
    pub(super) quoted: String,
    access: AtomicU8,
}

/// Whether a tenant may be used, as the process knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Access {
    /// It may be used.
    Active,
    /// It is suspended.
    Suspended,
    /// It is archived.
    Archived,
    /// It is no more.
    Dropped,
}

/// A statement was refused because its tenant may not be used. Found inside the [`DbErr`] that a
/// tenant handle returns, see [`Refused::find`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("tenant {slug} is {}", access.as_str())]
pub struct Refused {
    /// The tenant.
    pub slug: Slug,
    /// Why it may not be used.
    pub access: Access,
}

impl Access {
    /// The state as a word, such as `suspended`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
            Self::Dropped => "dropped",
        }
    }

    fn from_stored(byte: u8) -> Self {
        [Self::Active, Self::Suspended, Self::Archived]
            .into_iter()
            .find(|access| *access as u8 == byte)
            .unwrap_or(Self::Dropped)
    }
}

impl From<tenant::Status> for Access {
    fn from(status: tenant::Status) -> Self {
        match status {
            tenant::Status::Active => Self::Active,
            tenant::Status::Suspended => Self::Suspended,
            tenant::Status::Archived => Self::Archived,
            // A tenant never becomes a spare again; whatever had this id is gone.
            tenant::Status::Spare | tenant::Status::Dropping => Self::Dropped,
        }
    }
}

impl Refused {
    /// The refusal inside an error of SeaORM, if that is what it is.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        match error {
            DbErr::Conn(RuntimeErr::SqlxError(error)) => match error.as_ref() {
                sqlx::Error::Configuration(error) => error.downcast_ref(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// SeaORM's error has no place for an error of ours but the one sqlx keeps for its own callers.
impl From<Refused> for DbErr {
    fn from(refused: Refused) -> Self {
        Self::Conn(RuntimeErr::SqlxError(sqlx::Error::Configuration(Box::new(refused)).into()))
    }
}

impl Shared {
    pub(super) fn new(id: TenantId, slug: Slug, schema: SchemaName, access: Access) -> Self {
        let quoted = schema.quoted();
        Self { id, slug, schema, quoted, access: AtomicU8::new(access as u8) }
    }

    pub(super) fn access(&self) -> Access {
        Access::from_stored(self.access.load(Ordering::Acquire))
    }

    /// Tells every handle of the tenant. What was dropped stays dropped: its id never comes back.
    pub(super) fn set(&self, access: Access) {
        let stays = |now| (now != Access::Dropped as u8).then_some(access as u8);
        // An error says that nothing was changed, which is what was asked for.
        let _ = self.access.fetch_update(Ordering::AcqRel, Ordering::Acquire, stays);
    }

    /// Refuses when the tenant may not be used.
    pub(super) fn check(&self) -> Result<(), Refused> {
        match self.access() {
            Access::Active => Ok(()),
            access => Err(Refused { slug: self.slug.clone(), access }),
        }
    }

    pub(super) fn qualify(&self, mut statement: Statement) -> Result<Statement, Refused> {
        self.check()?;
        if let Cow::Owned(sql) = placeholder::replace(&statement.sql, &self.quoted) {
            statement.sql = sql;
        }
        Ok(statement)
    }

    pub(super) fn qualify_text<'a>(&self, sql: &'a str) -> Result<Cow<'a, str>, Refused> {
        self.check()?;
        Ok(placeholder::replace(sql, &self.quoted))
    }
}
