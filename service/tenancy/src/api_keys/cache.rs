use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use sea_orm::DbErr;
use tenantry_registry::{TenantId, audit::Entry};
use tokio::sync::mpsc;

use super::{Event, KeyCheck, Prefix, StoredKey, VerifiedKey, text::KeyText};
use crate::{
    freshness::{Freshness, Stamp},
    registry_view::RegistryView,
};

/// Maximum number of keys that are cached.
const MAX_KNOWN: u64 = 100_000;

/// Maximum number of prefixes without a key that are cached. In a cache of their own, so that
/// invented ones do not evict keys.
const MAX_UNKNOWN: u64 = 10_000;

/// Lifetime of the entry of a key. Freshness decides earlier whether it is current.
const KNOWN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is cached that a key does not exist.
const UNKNOWN_TTL: Duration = Duration::from_secs(1);

/// How often the use of a key is written, in milliseconds.
const USED_EVERY: i64 = 60_000;

/// How often the same refusal is recorded.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// Maximum number of refusals that are recorded in [`REFUSED_EVERY`].
const MAX_REFUSALS: u64 = 100;

/// The keys that the process has verified.
pub(crate) struct KeyCache {
    known: Cache<Prefix, Arc<Known>>,
    unknown: Cache<Prefix, Stamp>,
    /// The refusals that were recorded.
    refused: Cache<(TenantId, Option<TenantId>), ()>,
    view: Arc<RegistryView>,
    events: mpsc::Sender<Event>,
}

struct Known {
    stamp: Stamp,
    stored: StoredKey,
    owner: VerifiedKey,
    /// When its use was last written, in milliseconds.
    used_at: AtomicI64,
}

impl KeyCache {
    pub(crate) fn new(ttl: Duration, view: Arc<RegistryView>, events: mpsc::Sender<Event>) -> Self {
        let known = Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN_TTL).build();
        let unknown =
            Cache::builder().max_capacity(MAX_UNKNOWN).time_to_live(UNKNOWN_TTL.min(ttl)).build();
        let refused =
            Cache::builder().max_capacity(MAX_REFUSALS).time_to_live(REFUSED_EVERY).build();
        Self { known, unknown, refused, view, events }
    }

    /// Verifies a key.
    pub(super) async fn verify(&self, key: &KeyText) -> Result<KeyCheck, DbErr> {
        Ok(match self.get(&key.prefix).await? {
            Some(known) => self.check(key, &known),
            None => KeyCheck::Unknown,
        })
    }

    /// Whether a key was valid when it was last looked up, also if that entry is no longer current.
    pub(super) fn is_known(&self, key: &KeyText) -> bool {
        let known = self.known.get(&key.prefix);
        known.is_some_and(|known| known.confirm(key, Utc::now()).is_ok())
    }

    /// Invalidates the entries of a key that this process has changed.
    pub(super) fn changed(&self, prefix: &Prefix) {
        self.view.freshness.changed(slot(prefix));
    }

    /// Records a refusal, unless the same one was recorded a moment ago, or too many others.
    pub(super) fn refused(&self, of: TenantId, by: Option<TenantId>, entry: Entry) {
        self.refused.run_pending_tasks();
        if self.refused.entry_count() < MAX_REFUSALS
            && self.refused.entry((of, by)).or_insert(()).is_fresh()
        {
            // Not recorded if the writer is behind: a request does not wait for it.
            let _ = self.events.try_send(Event::Refused(Box::new(entry)));
        }
    }

    fn check(&self, key: &KeyText, known: &Known) -> KeyCheck {
        let now = Utc::now();
        match known.confirm(key, now) {
            Ok(()) => {
                self.touch(known, now);
                KeyCheck::Valid(known.owner.clone())
            }
            Err(refused) => refused,
        }
    }

    /// The key with a prefix. The registry is queried unless a current entry exists.
    async fn get(&self, prefix: &Prefix) -> Result<Option<Arc<Known>>, DbErr> {
        let freshness = &self.view.freshness;
        if let Some(known) = self.known.get(prefix)
            && self.is_current(prefix, &known)
        {
            return Ok(Some(known));
        }
        if let Some(stamp) = self.unknown.get(prefix)
            && !self.has_changed(prefix, None, stamp)
            && freshness.is_recent(stamp.at)
        {
            return Ok(None);
        }
        loop {
            let stamp = freshness.stamp();
            let stored = self.view.fetch_key(prefix.clone()).await?;
            let tenant = stored.as_ref().and_then(|stored| stored.tenant_id);
            if self.has_changed(prefix, tenant, stamp) {
                continue;
            }
            let Some(known) = stored.and_then(|stored| Known::new(stored, stamp)) else {
                self.known.invalidate(prefix);
                self.unknown.insert(prefix.clone(), stamp);
                return Ok(None);
            };
            let known = Arc::new(known);
            self.known.insert(prefix.clone(), Arc::clone(&known));
            return Ok(Some(known));
        }
    }

    fn is_current(&self, prefix: &Prefix, known: &Known) -> bool {
        !self.has_changed(prefix, known.stored.tenant_id, known.stamp)
            && self.view.freshness.is_recent(known.stamp.at)
    }

    /// Whether the key or its tenant has changed.
    fn has_changed(&self, prefix: &Prefix, tenant: Option<TenantId>, stamp: Stamp) -> bool {
        let changed = |slot| self.view.freshness.has_changed(slot, stamp.changes);
        changed(slot(prefix)) || tenant.is_some_and(|id| changed(Freshness::slot(id)))
    }

    /// Has the use of a key written, if that was not done for a while.
    fn touch(&self, known: &Known, now: DateTime<Utc>) {
        let (now, before) = (now.timestamp_millis(), known.used_at.load(Ordering::Relaxed));
        if now - before >= USED_EVERY
            && known
                .used_at
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            // Written with the next use if the writer is behind: a request does not wait for it.
            if self.events.try_send(Event::Used(known.owner.id)).is_err() {
                known.used_at.store(before, Ordering::Relaxed);
            }
        }
    }
}

/// The change counter of a key.
fn slot(prefix: &Prefix) -> usize {
    Freshness::slot(prefix.as_str())
}

impl Known {
    /// `None` if the tenant was dropped.
    fn new(stored: StoredKey, stamp: Stamp) -> Option<Self> {
        let owner = stored.owner()?;
        let used_at = stored.last_used_at.map_or(0, |at| at.timestamp_millis());
        Some(Self { stamp, owner, used_at: AtomicI64::new(used_at), stored })
    }

    /// Why a key is not valid. That it was revoked or has expired is for its owner to know.
    fn confirm(&self, key: &KeyText, now: DateTime<Utc>) -> Result<(), KeyCheck> {
        if !key.matches(&self.stored.hash) {
            return Err(KeyCheck::Unknown);
        }
        if self.stored.revoked_at.is_some() {
            return Err(KeyCheck::Revoked);
        }
        match self.stored.expires_at {
            Some(at) if at <= now => Err(KeyCheck::Expired(at)),
            _ => Ok(()),
        }
    }
}
