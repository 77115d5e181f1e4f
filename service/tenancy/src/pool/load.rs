//! What the pool is doing, for figures.

use std::{collections::HashMap, sync::atomic::Ordering};

use super::{
    TenantPool,
    affinity::affinity_key,
    request::Owner,
    scheduler::{Counts, Load},
    slot::Slot,
};
use tenantry_registry::TenantId;

/// The state of a pool at one moment.
pub(in super::super) struct PoolLoad {
    pub(in super::super) max_connections: usize,
    pub(in super::super) open: usize,
    pub(in super::super) idle: usize,
    pub(in super::super) counts: Counts,
    /// Number of connections that were replaced because of their memory.
    pub(in super::super) replaced: u64,
    owners: HashMap<Owner, Load>,
}

impl TenantPool {
    pub(in super::super) fn load(&self) -> PoolLoad {
        PoolLoad {
            max_connections: self.slots.len(),
            open: self.open.load(Ordering::Relaxed),
            idle: self.slots.iter().filter(|slot| Slot::has_idle(slot)).count(),
            counts: self.scheduler.counts(),
            replaced: self.replaced.load(Ordering::Relaxed),
            owners: self.scheduler.load(),
        }
    }
}

impl PoolLoad {
    /// Connections in use and waiting requests.
    pub(in super::super) fn total(&self) -> (usize, usize) {
        let loads = self.owners.values();
        loads.fold((0, 0), |(used, waiting), load| (used + load.in_use, waiting + load.waiting))
    }

    /// The same of one tenant.
    pub(in super::super) fn of(&self, tenant: TenantId) -> (usize, usize) {
        let load = self.owners.get(&Owner::Tenant(affinity_key(tenant)));
        load.map_or((0, 0), |load| (load.in_use, load.waiting))
    }
}
