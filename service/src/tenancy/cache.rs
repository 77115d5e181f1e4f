use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use entity::registry::{TenantId, tenant};
use moka::{Expiry, future::Cache};
use sea_orm::DbErr;

use super::shared::{Access, Shared};

/// How long "there is no such tenant" is believed.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);

/// What the process knows about tenants.
///
/// Keys are slugs and host names alike: a slug has no dot and a host name always has one. Many
/// callers who ask for the same unknown key at once cause one query.
pub(super) struct TenantCache {
    entries: Cache<String, Option<Arc<Shared>>>,
    /// Every tenant that some handle is open for, also when its entry has expired: handles that
    /// were made at different times share one state.
    live: Mutex<HashMap<TenantId, Weak<Shared>>>,
    /// Counts changes, so that an answer which was asked for before a change is not kept after it.
    changes: AtomicU64,
}

struct Lifetime {
    found: Duration,
}

impl Expiry<String, Option<Arc<Shared>>> for Lifetime {
    fn expire_after_create(
        &self,
        _: &String,
        value: &Option<Arc<Shared>>,
        _: Instant,
    ) -> Option<Duration> {
        Some(if value.is_some() { self.found } else { NEGATIVE_TTL.min(self.found) })
    }
}

impl TenantCache {
    pub(super) fn new(ttl: Duration) -> Self {
        let entries =
            Cache::builder().max_capacity(100_000).expire_after(Lifetime { found: ttl }).build();
        Self { entries, live: Mutex::default(), changes: AtomicU64::new(0) }
    }

    /// The tenant behind `key`, asked of `load` when it is not known.
    pub(super) async fn get<F>(
        &self,
        key: &str,
        load: impl Fn() -> F,
    ) -> Result<Option<Arc<Shared>>, Arc<DbErr>>
    where
        F: Future<Output = Result<Option<tenant::Model>, DbErr>>,
    {
        loop {
            if let Some(found) = self.entries.get(key).await {
                return Ok(found);
            }
            let before = self.changes.load(Ordering::SeqCst);
            let found = async { Ok(load().await?.and_then(|row| self.share(row))) };
            let found = self.entries.try_get_with_by_ref(key, found).await?;
            if self.changes.load(Ordering::SeqCst) == before {
                return Ok(found);
            }
            // Something changed while the registry was asked: the answer may be older than that.
            self.entries.invalidate(key).await;
        }
    }

    /// The shared state of a tenant as its row says now. A row without slug is no tenant.
    fn share(&self, row: tenant::Model) -> Option<Arc<Shared>> {
        let slug = row.slug?;
        let access = Access::from(row.status);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = live.get(&row.id).and_then(Weak::upgrade)
            && shared.slug == slug
            && shared.access() != Access::Dropped
        {
            shared.set(access);
            return Some(shared);
        }
        live.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared::new(row.id, slug, row.schema, access));
        live.insert(row.id, Arc::downgrade(&shared));
        Some(shared)
    }

    /// Forgets what is known under `keys`, because it has changed.
    pub(super) async fn forget<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        for key in keys {
            self.entries.invalidate(key).await;
        }
    }

    /// Forgets everything; open handles stay as they are.
    pub(super) fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
    }

    /// Tells every handle of a tenant what its state is now.
    pub(super) fn set(&self, id: TenantId, access: Access) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = live.get(&id).and_then(Weak::upgrade) {
            shared.set(access);
        }
    }

    /// The tenants that some handle is open for.
    pub(super) fn live(&self) -> Vec<TenantId> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter().filter(|(_, shared)| shared.strong_count() > 0).map(|(id, _)| *id).collect()
    }
}
