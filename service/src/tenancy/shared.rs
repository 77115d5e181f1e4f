use std::{
    borrow::Cow,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use entity::registry::{SchemaName, Slug, TenantId};
use migration::sql::replace_placeholder;
use sea_orm::Statement;

use super::{
    access::{Access, Refused},
    epoch::Epoch,
    fitness::Standing,
    second_look::{Looker, Seen},
};

/// What all handles of one tenant share: where its tables are, and whether it may be used.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: TenantId,
    pub(super) slug: Slug,
    pub(super) schema: SchemaName,
    pub(super) quoted: String,
    pub(super) epoch: Epoch,
    pub(super) looker: Arc<Looker>,
    pub(super) seen: Seen,
    standing: Mutex<Standing>,
    /// That of the standing, for statements to read without a lock.
    access: AtomicU8,
}

/// One thread's way to what all handles of a tenant share. Handles that a thread hands out count
/// themselves here, so that threads which work for the same tenant do not fight over one counter.
#[expect(clippy::redundant_allocation, reason = "the outer one is the thread's own counter")]
#[derive(Debug, Clone)]
pub(super) struct Known(Arc<Arc<Shared>>);

impl Known {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for Known {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    pub(super) fn new(
        id: TenantId,
        slug: Slug,
        schema: SchemaName,
        standing: Standing,
        epoch: Epoch,
        looker: Arc<Looker>,
    ) -> Self {
        let quoted = schema.quoted();
        let access = AtomicU8::new(standing.access as u8);
        let (standing, seen) = (Mutex::new(standing), Seen::default());
        Self { id, slug, schema, quoted, epoch, looker, seen, standing, access }
    }

    /// Tells every handle of the tenant. What was dropped stays dropped: its id never comes back.
    pub(super) fn set(&self, standing: Standing) {
        let mut now = self.standing();
        if now.access != Access::Dropped {
            *now = standing;
            self.access.store(now.access as u8, Ordering::Release);
        }
    }

    /// Refuses when the tenant may not be used.
    pub(super) fn check(&self) -> Result<(), Refused> {
        match Access::from_stored(self.access.load(Ordering::Acquire)) {
            Access::Active => Ok(()),
            _ => self.refuse(),
        }
    }

    /// Once more, with the reason: it may have become usable in between.
    #[cold]
    fn refuse(&self) -> Result<(), Refused> {
        let Standing { access, applied, newest, unknown } = self.standing().clone();
        match access {
            Access::Active => Ok(()),
            access => Err(Refused { slug: self.slug.clone(), access, applied, newest, unknown }),
        }
    }

    /// The statement as it is sent, and the epoch that it belongs to.
    pub(super) fn qualify(&self, mut statement: Statement) -> Result<(Statement, u64), Refused> {
        self.check()?;
        if let Cow::Owned(sql) = replace_placeholder(&statement.sql, &self.quoted) {
            statement.sql = sql;
        }
        let epoch = self.epoch.mark(&mut statement.sql);
        Ok((statement, epoch))
    }

    /// A text that is sent without being prepared, so nothing of it can be stale.
    pub(super) fn qualify_text<'a>(&self, sql: &'a str) -> Result<Cow<'a, str>, Refused> {
        self.check()?;
        Ok(replace_placeholder(sql, &self.quoted))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
