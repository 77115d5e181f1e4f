use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use sea_orm::DbErr;
use tenantry_migrate::sql::qualify;
use tenantry_registry::{SchemaName, Slug, TenantId};

use super::{
    availability::{Availability, TenantUnavailable},
    compatibility::Compatibility,
    connection::Binding,
    freshness::{Freshness, Stamp},
    http_settings::{CurrentHttpSettings, HttpSettings},
    limits::{CurrentLimits, Limits},
    other_schema::OtherSchema,
    pool_stats::TenantUsage,
    read_only::ReadOnlyTenant,
    recheck::recheck,
    registry_view::{RegistryView, TenantKey},
    schemas::Schemas,
    statement::{Analysis, Analyzer, Misuse, begins_with_write},
    statement_epoch::Epoch,
};

/// The state that all handles of one tenant share: its schema and its availability.
#[derive(Debug)]
pub struct TenantState {
    pub(super) id: TenantId,
    pub(super) slug: Slug,
    pub(super) schema: SchemaName,
    pub(super) quoted: String,
    pub(super) epoch: Epoch,
    pub(super) limits: CurrentLimits,
    pub(super) http: CurrentHttpSettings,
    pub(super) usage: TenantUsage,
    /// The schemas of all tenants.
    schemas: Schemas,
    /// `None` for a tenant that is being created: no other process can see it or change it.
    source: Option<Source>,
    compatibility: Mutex<Compatibility>,
    /// A copy of its availability and [`READ_ONLY`], which statements read without a lock.
    availability: AtomicU8,
}

/// Added to the availability of a tenant whose statements may only read.
const READ_ONLY: u8 = 0x80;

/// The source of a tenant's state.
#[derive(Debug)]
struct Source {
    view: Arc<RegistryView>,
    slot: usize,
    /// The stamp of the compatibility. Stored after it, `asked_at` first, and read before it,
    /// `asked_at` last: a reader that sees a stamp sees its compatibility or a later one.
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
    /// The state of a tenant that is not visible to others yet.
    pub(super) fn detached(
        (id, slug, schema): (TenantId, Slug, SchemaName),
        epoch: Epoch,
        schemas: Schemas,
    ) -> Self {
        let (quoted, active) = (schema.quoted(), Availability::Active);
        Self {
            id,
            slug,
            schema,
            quoted,
            epoch,
            limits: CurrentLimits::new(Limits::default()),
            http: CurrentHttpSettings::default(),
            usage: TenantUsage::default(),
            schemas,
            source: None,
            compatibility: Mutex::new(active.into()),
            availability: AtomicU8::new(active as u8),
        }
    }

    /// The state of a tenant as read from the registry.
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
        Self { source, compatibility, availability, ..Self::detached(of, epoch, schemas) }
    }

    /// Stores an answer of the registry for all handles of the tenant. A dropped tenant remains
    /// dropped, since ids are not reused.
    pub(super) fn set(
        &self,
        compatibility: Compatibility,
        limits: Limits,
        read_only: bool,
        stamp: Stamp,
    ) {
        let mut current = self.compatibility();
        let Some(source) = &self.source else { return };
        if current.availability != Availability::Dropped {
            *current = compatibility;
            let read_only = if read_only { READ_ONLY } else { 0 };
            self.availability.store(current.availability as u8 | read_only, Ordering::Release);
            self.limits.set(limits);
            source.asked_at.store(stamp.at, Ordering::Release);
            source.changes.store(stamp.changes, Ordering::Release);
        }
    }

    pub(super) fn set_dropped(&self) {
        *self.compatibility() = Availability::Dropped.into();
        self.availability.store(Availability::Dropped as u8, Ordering::Release);
    }

    /// Whether these are the schemas of the same tenancy.
    pub(super) fn has_schemas(&self, schemas: &Schemas) -> bool {
        self.schemas.is_same(schemas)
    }

    /// Refuses if the tenant is not available. If the state is not current, the registry is queried
    /// first.
    pub(super) async fn check(&self) -> Result<(), DbErr> {
        if let Some(source) = &self.source
            && !source.is_current()
            && self.availability() != Availability::Dropped
        {
            // Boxed, since it is rare and its state is large.
            Box::pin(self.refresh(source)).await?;
        }
        match self.availability() {
            Availability::Active => Ok(()),
            _ => self.refuse(),
        }
    }

    /// Queries the registry.
    pub(super) async fn refresh_now(&self) -> Result<(), DbErr> {
        match &self.source {
            Some(source) => Box::pin(self.refresh(source)).await,
            None => Ok(()),
        }
    }

    async fn refresh(&self, source: &Source) -> Result<(), DbErr> {
        loop {
            let stamp = source.view.freshness.stamp();
            match source.view.fetch(TenantKey::Id(self.id)).await? {
                Some(row) => {
                    let limits = Limits::stored(row.max_connections, row.max_waiting);
                    let compatibility = source.view.known.compatibility(&row);
                    self.http.set(HttpSettings::stored(&row));
                    self.set(compatibility, limits, row.read_only, stamp);
                }
                None => self.set_dropped(),
            }
            // Repeated if the tenant has changed meanwhile.
            if !source.view.freshness.has_changed(source.slot, stamp.changes) {
                return Ok(());
            }
        }
    }

    fn availability(&self) -> Availability {
        Availability::from_stored(self.availability.load(Ordering::Acquire) & !READ_ONLY)
    }

    /// Whether its statements may only read.
    pub(super) fn is_read_only(&self) -> bool {
        self.availability.load(Ordering::Acquire) & READ_ONLY != 0
    }

    /// Why the tenant is not available, if it is not.
    pub(super) fn unavailable(&self) -> Option<TenantUnavailable> {
        let Compatibility { availability, applied, newest, unknown } = self.compatibility().clone();
        (availability != Availability::Active).then(|| {
            let slug = self.slug.clone();
            let unknown = unknown.map(Into::into);
            TenantUnavailable { id: self.id, slug, availability, applied, newest, unknown }
        })
    }

    /// Checks again with the reason: the tenant may have become available in between.
    #[cold]
    fn refuse(&self) -> Result<(), DbErr> {
        self.unavailable().map_or(Ok(()), |unavailable| Err(unavailable.into()))
    }

    fn compatibility(&self) -> MutexGuard<'_, Compatibility> {
        self.compatibility.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Binding for TenantState {
    fn name(&self) -> &str {
        self.slug.as_str()
    }

    async fn check(&self) -> Result<(), DbErr> {
        self.check().await
    }

    /// SQL with the tenant's schema in place of the placeholder, and what it does to the session.
    async fn qualify_sql<'a>(&self, sql: &'a str) -> Result<(Cow<'a, str>, Analysis), DbErr> {
        self.check().await?;
        let own = self.schema.as_str();
        let is_other = |name: &str| name != own && self.schemas.contains(name);
        let mut analyzer = Analyzer::new(sql);
        let qualified = qualify(sql, &self.quoted, is_other, |token| analyzer.push(token))
            .map_err(|schema| OtherSchema { slug: Some(self.slug.clone()), schema })?;
        if let Some(keyword) = analyzer.control() {
            return Err(Misuse::TransactionControl { keyword }.into());
        }
        if self.is_read_only() && begins_with_write(sql) {
            return Err(ReadOnlyTenant::new(self.slug.clone()).into());
        }
        Ok((qualified, analyzer.analysis()))
    }

    fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    async fn recheck(&self, error: DbErr) -> DbErr {
        recheck(self, error).await
    }
}
