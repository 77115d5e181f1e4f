use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use moka::{Expiry, sync::Cache};
use sea_orm::DbErr;
use tenantry_registry::{SchemaName, Slug, TenantId, tenant};

use super::{
    freshness::{Freshness, Stamp},
    http_settings::HttpSettings,
    limits::Limits,
    registry_view::{RegistryView, TenantKey},
    shared::SharedState,
    statement_epoch::Epochs,
    tenant_state::TenantState,
};

/// Lifetime of an entry for a tenant that does not exist or is not available, or for an earlier slug.
const SHORT_TTL: Duration = Duration::from_secs(1);

/// The tenants that the process has resolved.
pub(super) struct TenantCache {
    entries: Cache<TenantKey, Entry>,
    /// Tenants with open handles, also when their entries have expired: all handles of a tenant
    /// share one state.
    open: Mutex<OpenTenants>,
    view: Arc<RegistryView>,
    epochs: Epochs,
}

#[derive(Clone)]
struct Entry {
    stamp: Stamp,
    state: Option<Arc<TenantState>>,
}

#[derive(Default)]
struct OpenTenants {
    tenants: HashMap<TenantId, Weak<TenantState>>,
    /// Size at which tenants without handles are removed.
    sweep_at: usize,
}

struct Lifetime {
    found: Duration,
}

impl Expiry<TenantKey, Entry> for Lifetime {
    fn expire_after_create(&self, key: &TenantKey, answer: &Entry, _: Instant) -> Option<Duration> {
        let is_kept = answer.state.as_ref().is_some_and(|state| {
            // An earlier slug expires without a notification.
            let is_own = !matches!(key, TenantKey::Slug(slug) if state.slug != *slug);
            is_own && state.unavailable().is_none()
        });
        Some(if is_kept { self.found } else { SHORT_TTL.min(self.found) })
    }

    fn expire_after_update(
        &self,
        key: &TenantKey,
        answer: &Entry,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, now)
    }
}

impl TenantCache {
    pub(super) fn new(ttl: Duration, view: Arc<RegistryView>) -> Self {
        let entries =
            Cache::builder().max_capacity(100_000).expire_after(Lifetime { found: ttl }).build();
        Self { entries, open: Mutex::default(), view, epochs: Epochs::default() }
    }

    /// The tenant with this key. The registry is queried unless a current entry exists.
    pub(super) async fn get(&self, key: TenantKey) -> Result<Option<Arc<TenantState>>, DbErr> {
        let (slot, freshness) = (key.slot(), &self.view.freshness);
        if let Some(Entry { stamp, state }) = self.entries.get(&key)
            && !freshness.has_changed(slot, stamp.changes)
            && freshness.is_recent(stamp.at)
        {
            return Ok(state);
        }
        loop {
            let stamp = freshness.stamp();
            let row = self.view.fetch(key.clone()).await?;
            let state = row.and_then(|row| self.intern(row, stamp));
            if !freshness.has_changed(slot, stamp.changes) {
                self.entries.insert(key, Entry { stamp, state: state.clone() });
                return Ok(state);
            }
        }
    }

    /// The state that the handles of a tenant share, updated from its row. `None` for a row without
    /// a slug, which is a spare.
    pub(super) fn intern(&self, row: tenant::Model, stamp: Stamp) -> Option<Arc<TenantState>> {
        let compatibility = self.view.known.compatibility(&row);
        let http = HttpSettings::stored(&row);
        let slug = row.slug?;
        let limits = Limits::stored(row.max_connections, row.max_waiting);
        let mut open = self.open();
        if let Some(state) = open.tenants.get(&row.id).and_then(Weak::upgrade)
            && state.slug == slug
        {
            state.http.set(http);
            state.set(compatibility, limits, row.read_only, stamp);
            return Some(state);
        }
        if open.tenants.len() >= open.sweep_at {
            open.tenants.retain(|_, state| state.strong_count() > 0);
            open.sweep_at = 2 * open.tenants.len() + 64;
        }
        let (epoch, view) = (self.epochs.join(), Arc::clone(&self.view));
        let of = (row.id, slug, row.schema);
        let state = TenantState::new(of, epoch, view, compatibility.clone(), stamp);
        state.http.set(http);
        state.set(compatibility, limits, row.read_only, stamp);
        let state = Arc::new(state);
        open.tenants.insert(row.id, Arc::downgrade(&state));
        Some(state)
    }

    /// The state of a tenant that is not visible to others yet.
    pub(super) fn detached(&self, id: TenantId, slug: Slug, schema: SchemaName) -> TenantState {
        TenantState::detached((id, slug, schema), self.epochs.join(), self.view.schemas.clone())
    }

    /// The state of the connection to shared tables.
    pub(super) fn shared(&self) -> SharedState {
        SharedState::new(self.epochs.join(), self.view.schemas.clone())
    }

    /// Invalidates the entries of `keys`.
    pub(super) fn invalidate<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        keys.into_iter().for_each(|key| self.view.freshness.changed(Freshness::slot(key)));
    }

    /// Sets the limits of a tenant for all its handles.
    pub(super) fn set_limits(&self, id: TenantId, limits: Limits) {
        if let Some(state) = self.open().tenants.get(&id).and_then(Weak::upgrade) {
            state.limits.set(limits);
        }
    }

    /// Makes all handles of a tenant read the registry before their next statement.
    pub(super) fn invalidate_tenant(&self, id: TenantId) {
        self.view.freshness.changed(Freshness::slot(id));
    }

    /// Sets the HTTP settings of a tenant for all its handles.
    pub(super) fn set_http(&self, id: TenantId, settings: HttpSettings) {
        if let Some(state) = self.open().tenants.get(&id).and_then(Weak::upgrade) {
            state.http.set(settings);
        }
    }

    /// Makes a tenant unavailable on all its handles.
    pub(super) fn mark_dropped(&self, id: TenantId) {
        self.invalidate_tenant(id);
        if let Some(state) = self.open().tenants.get(&id).and_then(Weak::upgrade) {
            state.set_dropped();
        }
    }

    /// The tenants with open handles or cache entries.
    pub(super) fn open_tenants(&self) -> Vec<Arc<TenantState>> {
        self.open().tenants.values().filter_map(Weak::upgrade).collect()
    }

    fn open(&self) -> MutexGuard<'_, OpenTenants> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tenantry_migrate::DynMigrator;

    use super::*;
    use crate::{
        availability::Availability, compatibility::KnownMigrations, freshness::now,
        registry_view::Request,
    };

    fn row(id: TenantId, version: Option<String>) -> tenant::Model {
        tenant::Model {
            id,
            slug: Some("city".parse().unwrap()),
            schema: "city".parse().unwrap(),
            status: tenant::Status::Active,
            status_reason: None,
            status_since: None,
            status_before: None,
            purge_after: None,
            read_only: false,
            schema_version: version,
            migrations: Vec::new(),
            breaking: Vec::new(),
            max_connections: None,
            max_waiting: None,
            max_body_bytes: None,
            cors_origins: Vec::new(),
            metadata: serde_json::json!({}),
            inserted_at: tenantry_registry::now(),
            updated_at: tenantry_registry::now(),
            migration_error: None,
            migration_attempts: 0,
            dropped_at: None,
            dropped_by: None,
        }
    }

    fn city() -> TenantKey {
        TenantKey::Slug("city".parse().unwrap())
    }

    /// A cache whose registry answers the nth query with `answer`.
    fn cache(
        ttl: Duration,
        answer: impl Fn(usize, &RegistryView) -> Option<tenant::Model> + Send + 'static,
    ) -> (TenantCache, Arc<RegistryView>, Arc<AtomicUsize>) {
        let migrator = DynMigrator::tenant(crate::test_migrator::Migrator);
        let timeout = Duration::from_secs(5);
        let (view, mut requests) = RegistryView::new(KnownMigrations::new(&migrator), ttl, timeout);
        let asked = Arc::new(AtomicUsize::new(0));
        let (view_of_task, counter) = (Arc::clone(&view), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Some(Request::Tenant(_, reply)) = requests.recv().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let _ = reply.send(Ok(answer(number, &view_of_task)));
            }
        });
        (TenantCache::new(ttl, Arc::clone(&view)), view, asked)
    }

    const LONG: Duration = Duration::from_secs(3600);

    fn latest() -> Option<String> {
        DynMigrator::tenant(crate::test_migrator::Migrator).latest()
    }

    #[tokio::test]
    async fn a_tenant_that_is_migrated_while_it_is_queried_is_queried_again() {
        let id = TenantId::generate();
        let (cache, _, asked) = cache(LONG, move |number, view| {
            if number == 0 {
                // The notification of a fleet run contains only the id.
                view.freshness.changed(Freshness::slot(id));
                return Some(row(id, None));
            }
            Some(row(id, latest()))
        });
        let state = cache.get(city()).await.unwrap().unwrap();
        state.check().await.unwrap();
        state.check().await.unwrap();
        cache.get(city()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_entry_is_used_for_its_lifetime() {
        for (ttl, lookups) in [(LONG, 1), (Duration::ZERO, 6)] {
            let id = TenantId::generate();
            let (cache, view, asked) = cache(ttl, move |_, _| Some(row(id, latest())));
            view.freshness.received(now());
            for _ in 0..3 {
                cache.get(city()).await.unwrap().unwrap().check().await.unwrap();
            }
            assert_eq!(asked.load(Ordering::SeqCst), lookups);
        }
    }

    /// Otherwise the time of an answer would show which tenants exist.
    #[tokio::test]
    async fn a_suspended_tenant_is_queried_as_often_as_one_that_does_not_exist() {
        for status in [Some(tenant::Status::Suspended), None] {
            let id = TenantId::generate();
            let (cache, view, asked) = cache(LONG, move |_, _| {
                status.map(|status| tenant::Model { status, ..row(id, latest()) })
            });
            view.freshness.received(now());
            for expected in [1, 2] {
                cache.get(city()).await.unwrap();
                cache.get(city()).await.unwrap();
                assert_eq!(asked.load(Ordering::SeqCst), expected, "{status:?}");
                tokio::time::sleep(SHORT_TTL + Duration::from_millis(100)).await;
                view.freshness.received(now());
            }
        }
    }

    #[tokio::test]
    async fn a_notified_change_is_queried_before_the_next_use() {
        let id = TenantId::generate();
        let (cache, view, asked) = cache(LONG, move |number, _| match number {
            0 => Some(row(id, latest())),
            1 => Some(tenant::Model { status: tenant::Status::Suspended, ..row(id, latest()) }),
            _ => None,
        });
        view.freshness.received(now());
        let state = cache.get(city()).await.unwrap().unwrap();
        let refused = async || {
            let error = state.check().await.unwrap_err();
            crate::TenantUnavailable::find(&error).unwrap().availability
        };
        state.check().await.unwrap();
        view.freshness.changed(Freshness::slot(id));
        assert_eq!(refused().await, Availability::Suspended);
        assert_eq!(refused().await, Availability::Suspended);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        view.freshness.all_changed();
        assert_eq!(refused().await, Availability::Dropped);
        // A dropped tenant is not queried again.
        view.freshness.all_changed();
        assert_eq!(refused().await, Availability::Dropped);
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_hostname_that_is_moved_resolves_to_its_new_tenant() {
        let ids = [TenantId::generate(), TenantId::generate()];
        let (cache, view, _) = cache(LONG, move |number, _| Some(row(ids[number], latest())));
        view.freshness.received(now());
        let key = || TenantKey::Host("guards.example.org".parse().unwrap());
        assert_eq!(cache.get(key()).await.unwrap().unwrap().id, ids[0]);
        assert_eq!(cache.get(key()).await.unwrap().unwrap().id, ids[0]);
        cache.invalidate(["guards.example.org"]);
        assert_eq!(cache.get(key()).await.unwrap().unwrap().id, ids[1]);
    }
}
