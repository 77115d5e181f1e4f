use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use entity::registry::{SchemaName, Slug, TenantId, tenant};
use moka::{Expiry, future::Cache};
use sea_orm::DbErr;

use super::{
    access::Access,
    epoch::Epochs,
    fitness::{Build, Standing},
    shared::Shared,
};

/// How long "there is no such tenant" is believed.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);

/// Counters of changes; each key has one of them, by its hash.
const COUNTERS: usize = 1024;

/// What the process knows about tenants.
///
/// Keys are slugs and host names alike: a slug has no dot and a host name always has one. Many
/// callers who ask for the same unknown key at once cause one query.
pub(super) struct TenantCache {
    entries: Cache<String, Answer>,
    /// Every tenant that some handle is open for, also when its entry has expired: handles that
    /// were made at different times share one state.
    live: Mutex<Live>,
    /// How often what is known under a key has changed. An answer holds only while the counter is
    /// where it was when the registry was asked, so one that was under way during a change is
    /// asked for again.
    changes: Box<[AtomicU64]>,
    /// What a row is measured by.
    pub(super) build: Build,
    epochs: Epochs,
}

/// What the registry said, and the counter when it was asked.
#[derive(Clone)]
struct Answer {
    asked: u64,
    shared: Option<Arc<Shared>>,
}

#[derive(Default)]
struct Live {
    tenants: HashMap<TenantId, Weak<Shared>>,
    /// Size at which those that nobody holds any more are removed.
    sweep_at: usize,
}

struct Lifetime {
    found: Duration,
}

impl Expiry<String, Answer> for Lifetime {
    fn expire_after_create(&self, _: &String, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(if answer.shared.is_some() { self.found } else { NEGATIVE_TTL.min(self.found) })
    }
}

impl TenantCache {
    pub(super) fn new(ttl: Duration, build: Build) -> Self {
        let entries =
            Cache::builder().max_capacity(100_000).expire_after(Lifetime { found: ttl }).build();
        let changes = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { entries, live: Mutex::default(), changes, build, epochs: Epochs::default() }
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
        let counter = self.counter(key);
        loop {
            let answer = async {
                let asked = counter.load(Ordering::SeqCst);
                let row = load().await?;
                let row = row.filter(|_| counter.load(Ordering::SeqCst) == asked);
                Ok(Answer { asked, shared: row.and_then(|row| self.share(row)) })
            };
            let answer = self.entries.try_get_with_by_ref(key, answer).await?;
            if counter.load(Ordering::SeqCst) == answer.asked {
                return Ok(answer.shared);
            }
            self.entries.invalidate(key).await;
        }
    }

    fn counter(&self, key: &str) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.changes[hasher.finish() as usize % COUNTERS]
    }

    /// The shared state of a tenant as its row says now. A row without slug is no tenant.
    fn share(&self, row: tenant::Model) -> Option<Arc<Shared>> {
        let slug = row.slug?;
        let standing = self.build.standing(row.status, row.schema_version, row.contract_version);
        let mut live = self.live();
        if let Some(shared) = live.tenants.get(&row.id).and_then(Weak::upgrade)
            && shared.slug == slug
        {
            shared.set(standing);
            return Some(shared);
        }
        if live.tenants.len() >= live.sweep_at {
            live.tenants.retain(|_, shared| shared.strong_count() > 0);
            live.sweep_at = 2 * live.tenants.len() + 64;
        }
        let shared = Shared::new(row.id, slug, row.schema, standing, self.epochs.join());
        let shared = Arc::new(shared);
        live.tenants.insert(row.id, Arc::downgrade(&shared));
        Some(shared)
    }

    /// The state of a tenant that nobody else can see yet.
    pub(super) fn unshared(&self, id: TenantId, slug: Slug, schema: SchemaName) -> Shared {
        Shared::new(id, slug, schema, Access::Active.into(), self.epochs.join())
    }

    /// Forgets what is known under `keys`, because it has changed.
    pub(super) async fn forget<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        for key in keys {
            self.counter(key).fetch_add(1, Ordering::SeqCst);
            self.entries.invalidate(key).await;
        }
    }

    /// Forgets everything; open handles stay as they are.
    pub(super) fn forget_all(&self) {
        for counter in &self.changes {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        self.entries.invalidate_all();
    }

    /// Tells every handle of a tenant what its state is now.
    pub(super) fn set(&self, id: TenantId, standing: Standing) {
        if let Some(shared) = self.live().tenants.get(&id).and_then(Weak::upgrade) {
            shared.set(standing);
        }
    }

    /// Tells every handle of a tenant that it is no more.
    pub(super) fn dropped(&self, id: TenantId) {
        self.set(id, Access::Dropped.into());
    }

    /// Whether some handle is open for the tenant.
    pub(super) fn is_live(&self, id: TenantId) -> bool {
        self.live().tenants.get(&id).is_some_and(|shared| shared.strong_count() > 0)
    }

    /// The tenants that some handle is open for.
    pub(super) fn all_live(&self) -> Vec<TenantId> {
        let live = self.live();
        let live = live.tenants.iter().filter(|(_, shared)| shared.strong_count() > 0);
        live.map(|(id, _)| *id).collect()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
