use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use sea_orm::{DbErr, Statement};
use tenantry_migrate::sql::qualify;
use tenantry_registry::{SchemaName, Slug, TenantId};

use super::{
    availability::{Availability, TenantUnavailable},
    compatibility::Compatibility,
    freshness::{Freshness, Stamp},
    limits::{CurrentLimits, Limits},
    other_schema::OtherSchema,
    registry_view::{Key, RegistryView},
    schemas::Schemas,
    statement::{self, Effect, Misuse, Reader},
    statement_epoch::Epoch,
};

/// What all handles of one tenant share: where its tables are, and whether it may be used.
#[derive(Debug)]
pub(super) struct TenantState {
    pub(super) id: TenantId,
    pub(super) slug: Slug,
    pub(super) schema: SchemaName,
    pub(super) quoted: String,
    pub(super) epoch: Epoch,
    pub(super) limits: CurrentLimits,
    /// Those of all tenants.
    schemas: Schemas,
    /// None for a tenant that is being created: nobody else can see it, or change it.
    source: Option<Source>,
    compatibility: Mutex<Compatibility>,
    /// That of the compatibility, for statements to read without a lock.
    availability: AtomicU8,
}

/// A statement as it is sent to one tenant's schema.
pub(super) struct Qualified {
    pub(super) statement: Statement,
    pub(super) effect: Effect,
    /// See [`Epoch`].
    pub(super) epoch: u64,
}

/// Where the state of a tenant comes from.
#[derive(Debug)]
struct Source {
    view: Arc<RegistryView>,
    slot: usize,
    /// The stamp of the compatibility. Stored after it, moment first, and read before it, moment last:
    /// who sees a stamp sees the compatibility that it belongs to, or a later one.
    asked_at: AtomicU64,
    changes: AtomicU64,
}

impl Source {
    fn new(view: Arc<RegistryView>, id: TenantId, stamp: Stamp) -> Self {
        let (asked_at, changes) = (AtomicU64::new(stamp.at), AtomicU64::new(stamp.changes));
        Self { view, slot: Freshness::slot(id), asked_at, changes }
    }

    fn is_current(&self) -> bool {
        let changes = self.changes.load(Ordering::Acquire);
        let asked_at = self.asked_at.load(Ordering::Acquire);
        let freshness = &self.view.freshness;
        !freshness.has_changed(self.slot, changes) && freshness.is_recent(asked_at)
    }
}

impl TenantState {
    /// The state of a tenant that nobody else can see yet.
    pub(super) fn unseen(
        (id, slug, schema): (TenantId, Slug, SchemaName),
        epoch: Epoch,
        schemas: Schemas,
    ) -> Self {
        let quoted = schema.quoted();
        let compatibility = Availability::Active.into();
        let availability = AtomicU8::new(Availability::Active as u8);
        let (compatibility, limits) =
            (Mutex::new(compatibility), CurrentLimits::new(Limits::default()));
        Self {
            id,
            slug,
            schema,
            quoted,
            epoch,
            limits,
            schemas,
            source: None,
            compatibility,
            availability,
        }
    }

    /// The state of a tenant as the registry had it when it was asked.
    pub(super) fn new(
        of: (TenantId, Slug, SchemaName),
        epoch: Epoch,
        view: Arc<RegistryView>,
        compatibility: Compatibility,
        stamp: Stamp,
    ) -> Self {
        let schemas = view.schemas.clone();
        let source = Some(Source::new(view, of.0, stamp));
        let availability = AtomicU8::new(compatibility.availability as u8);
        let compatibility = Mutex::new(compatibility);
        Self { source, compatibility, availability, ..Self::unseen(of, epoch, schemas) }
    }

    /// Stores what the registry has answered, for every handle of the tenant. What was dropped
    /// stays dropped: its id never comes back.
    pub(super) fn set(&self, compatibility: Compatibility, limits: Limits, stamp: Stamp) {
        let mut now = self.compatibility();
        let Some(source) = &self.source else { return };
        if now.availability != Availability::Dropped {
            *now = compatibility;
            self.availability.store(now.availability as u8, Ordering::Release);
            self.limits.set(limits);
            source.asked_at.store(stamp.at, Ordering::Release);
            source.changes.store(stamp.changes, Ordering::Release);
        }
    }

    /// The tenant is dropped.
    pub(super) fn set_dropped(&self) {
        *self.compatibility() = Availability::Dropped.into();
        self.availability.store(Availability::Dropped as u8, Ordering::Release);
    }

    /// Refuses when the tenant may not be used. When what is known of it is no longer current, the
    /// registry is asked first.
    pub(super) async fn check(&self) -> Result<(), DbErr> {
        if let Some(source) = &self.source
            && !source.is_current()
            && self.availability() != Availability::Dropped
        {
            // Apart, as it is rare and its state is large.
            Box::pin(self.refresh(source)).await?;
        }
        match self.availability() {
            Availability::Active => Ok(()),
            _ => self.refuse(),
        }
    }

    async fn refresh(&self, source: &Source) -> Result<(), DbErr> {
        loop {
            let stamp = source.view.freshness.stamp();
            match source.view.ask(Key::Id(self.id)).await? {
                Some(row) => {
                    let limits = Limits::stored(row.max_connections, row.max_waiting);
                    self.set(source.view.known.compatibility(&row), limits, stamp);
                }
                None => self.set_dropped(),
            }
            // Not older than this call, unless there was another change meanwhile.
            if !source.view.freshness.has_changed(source.slot, stamp.changes) {
                return Ok(());
            }
        }
    }

    fn availability(&self) -> Availability {
        Availability::from_stored(self.availability.load(Ordering::Acquire))
    }

    /// Asks the registry what the tenant's state is now.
    pub(super) async fn look(&self) -> Result<(), DbErr> {
        match &self.source {
            Some(source) => Box::pin(self.refresh(source)).await,
            None => Ok(()),
        }
    }

    /// Why the tenant may not be used, if it may not.
    pub(super) fn refused(&self) -> Option<TenantUnavailable> {
        let Compatibility { availability, applied, newest, unknown } = self.compatibility().clone();
        let refused = availability != Availability::Active;
        refused.then(|| TenantUnavailable {
            slug: self.slug.clone(),
            availability,
            applied,
            newest,
            unknown,
        })
    }

    /// Once more, with the reason: it may have become usable in between.
    #[cold]
    fn refuse(&self) -> Result<(), DbErr> {
        self.refused().map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// The statement as it is sent.
    pub(super) async fn qualify(&self, mut statement: Statement) -> Result<Qualified, DbErr> {
        statement::check(&statement)?;
        let (sql, effect) = self.qualify_text(&statement.sql).await?;
        if let Cow::Owned(sql) = sql {
            statement.sql = sql;
        }
        let epoch = self.epoch.mark(&mut statement.sql);
        Ok(Qualified { statement, effect, epoch })
    }

    /// A text as it is sent, and what it does to the session.
    pub(super) async fn qualify_text<'a>(
        &self,
        sql: &'a str,
    ) -> Result<(Cow<'a, str>, Effect), DbErr> {
        self.check().await?;
        let own = self.schema.as_str();
        let is_other = |name: &str| name != own && self.schemas.contains(name);
        let mut reader = Reader::new(sql);
        let text = qualify(sql, &self.quoted, is_other, |token| reader.see(token))
            .map_err(|schema| OtherSchema { slug: self.slug.clone(), schema })?;
        match reader.control() {
            Some(keyword) => Err(Misuse::TransactionControl { keyword }.into()),
            None => Ok((text, reader.effect())),
        }
    }

    fn compatibility(&self) -> MutexGuard<'_, Compatibility> {
        self.compatibility.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
