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
    fitness::Standing,
    near::Near,
    second_look::Looker,
    shared::{Known, Shared},
};

/// How long "there is no such tenant" is believed.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);

/// Places where changes are noted; each key and each tenant has one of them, by its hash.
pub(super) const PLACES: usize = 1024;

/// What the process knows about tenants.
///
/// Keys are slugs and host names alike: a slug has no dot and a host name always has one. Many
/// callers who ask for the same unknown key at once cause one query.
pub(super) struct TenantCache {
    entries: Cache<String, Answer>,
    /// Every tenant that some handle is open for, also when its entry has expired: handles that
    /// were made at different times share one state.
    live: Mutex<Live>,
    /// How many changes the process has heard of.
    heard: AtomicU64,
    /// The last of them that was about a key, or about a tenant. An answer holds only if that was
    /// before the registry was asked, so one that was under way during a change is asked for
    /// again.
    changes: Box<[AtomicU64]>,
    /// For the second look at a tenant whose statement has failed.
    pub(super) looker: Arc<Looker>,
    epochs: Epochs,
    near: Near,
    ttl: Duration,
}

/// What the registry said.
#[derive(Clone)]
struct Answer {
    asked: Asked,
    shared: Option<Arc<Shared>>,
}

/// When the registry was asked, and of whom.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    /// How many changes had been heard of.
    heard: u64,
    /// The places of the key and of its tenant; the same where there is none.
    pub(super) key: usize,
    tenant: usize,
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
    pub(super) fn new(ttl: Duration, looker: Arc<Looker>) -> Self {
        let entries =
            Cache::builder().max_capacity(100_000).expire_after(Lifetime { found: ttl }).build();
        let changes = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        let (heard, live, epochs) = (AtomicU64::new(0), Mutex::default(), Epochs::default());
        Self { entries, live, heard, changes, looker, epochs, near: Near::new(), ttl }
    }

    /// The tenant behind `key`, asked of `load` when it is not known.
    pub(super) async fn get<F>(
        &self,
        key: &str,
        load: impl Fn() -> F,
    ) -> Result<Option<Known>, Arc<DbErr>>
    where
        F: Future<Output = Result<Option<tenant::Model>, DbErr>>,
    {
        let of_key = place(key);
        // The usual case, without what it takes to ask.
        let holds = |asked: &Asked| asked.at.elapsed() < self.ttl && self.holds(asked);
        if let Some(known) = self.near.get(key, of_key, holds) {
            return Ok(Some(known));
        }
        loop {
            let answer = async {
                let (at, heard) = (Instant::now(), self.heard.load(Ordering::SeqCst));
                let row = load().await?;
                let tenant = row.as_ref().map_or(of_key, |row| place(row.id));
                let asked = Asked { at, heard, key: of_key, tenant };
                let row = row.filter(|_| self.holds(&asked));
                Ok(Answer { asked, shared: row.and_then(|row| self.share(row)) })
            };
            let answer = self.entries.try_get_with_by_ref(key, answer).await?;
            if self.holds(&answer.asked) {
                let known = answer.shared.map(Known::new);
                if let Some(known) = &known {
                    self.near.put(key, answer.asked, known.clone());
                }
                return Ok(known);
            }
            self.entries.invalidate(key).await;
        }
    }

    /// Whether neither key nor tenant have changed since.
    fn holds(&self, asked: &Asked) -> bool {
        let before = |place: usize| self.changes[place].load(Ordering::SeqCst) <= asked.heard;
        before(asked.key) && before(asked.tenant)
    }

    fn note(&self, place: &AtomicU64) {
        let change = self.heard.fetch_add(1, Ordering::SeqCst) + 1;
        place.fetch_max(change, Ordering::SeqCst);
    }

    /// The shared state of a tenant as its row says now. A row without slug is no tenant.
    fn share(&self, row: tenant::Model) -> Option<Arc<Shared>> {
        let standing = self.looker.build.standing(&row);
        let slug = row.slug?;
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
        let shared = Arc::new(self.shared(row.id, slug, row.schema, standing));
        live.tenants.insert(row.id, Arc::downgrade(&shared));
        Some(shared)
    }

    /// The state of a tenant that nobody else can see yet.
    pub(super) fn unshared(&self, id: TenantId, slug: Slug, schema: SchemaName) -> Shared {
        self.shared(id, slug, schema, Access::Active.into())
    }

    fn shared(&self, id: TenantId, slug: Slug, schema: SchemaName, standing: Standing) -> Shared {
        Shared::new(id, slug, schema, standing, self.epochs.join(), Arc::clone(&self.looker))
    }

    /// Forgets what is known under `keys`, because it has changed.
    pub(super) async fn forget<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        for key in keys {
            self.note(&self.changes[place(key)]);
            self.entries.invalidate(key).await;
        }
    }

    /// No longer believes what is known of a tenant, whatever it is known under.
    pub(super) fn doubt(&self, id: TenantId) {
        self.note(&self.changes[place(id)]);
    }

    /// Forgets everything; open handles stay as they are.
    pub(super) fn forget_all(&self) {
        for place in &self.changes {
            self.note(place);
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

fn place(of: impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish() as usize % PLACES
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use migration::AnyMigrator;

    use super::*;
    use crate::tenancy::{Config, fitness::Build, lanes::Lanes};

    /// A cache for the product's own migrations, without a server behind it.
    fn cache(ttl: Duration) -> TenantCache {
        let config = Config::new("postgres://localhost", migration::tenant::Migrator);
        let lanes = Arc::new(Lanes::new(config.url.parse().unwrap(), &config));
        TenantCache::new(ttl, Looker::new(&lanes, Build::new(&config.migrator)).into())
    }

    fn row(id: TenantId, version: Option<String>) -> tenant::Model {
        tenant::Model {
            id,
            slug: Some("city".parse().unwrap()),
            schema: "city".parse().unwrap(),
            status: tenant::Status::Active,
            schema_version: version,
            migrations: Vec::new(),
            breaking: Vec::new(),
            metadata: serde_json::json!({}),
            inserted_at: entity::now(),
            updated_at: entity::now(),
            migration_error: None,
            migration_attempts: 0,
            dropped_at: None,
            dropped_by: None,
        }
    }

    #[tokio::test]
    async fn a_tenant_that_is_migrated_while_it_is_looked_up_is_looked_up_again() {
        let migrator = AnyMigrator::tenant(migration::tenant::Migrator);
        let cache = cache(Duration::from_secs(30));
        let (id, asked) = (TenantId::generate(), AtomicUsize::new(0));
        let load = async || {
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                // Announced by its id alone, as a fleet run does it.
                cache.doubt(id);
                Ok(Some(row(id, None)))
            } else {
                Ok(Some(row(id, migrator.latest())))
            }
        };
        let shared = cache.get("city", load).await.unwrap().unwrap();
        assert_eq!(shared.check(), Ok(()));
        cache.get("city", load).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2, "it is believed by now");
    }

    #[tokio::test]
    async fn a_tenant_is_believed_as_long_as_was_said_and_no_longer() {
        let migrator = AnyMigrator::tenant(migration::tenant::Migrator);
        for (ttl, loads) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 3)] {
            let cache = cache(ttl);
            let (id, asked) = (TenantId::generate(), AtomicUsize::new(0));
            for _ in 0..3 {
                let load = async || {
                    asked.fetch_add(1, Ordering::SeqCst);
                    Ok(Some(row(id, migrator.latest())))
                };
                cache.get("city", load).await.unwrap().unwrap();
            }
            assert_eq!(asked.load(Ordering::SeqCst), loads);
        }
    }
}
