use std::{
    cmp::Reverse,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tenantry_registry::{Slug, TenantId};

use super::{Busy, Tenancy, cache::TenantCache, pool::TenantPool};

/// Figures of the connection pool of this process, from [`Tenancy::pool_stats`]. The two connections
/// for notifications and for lookups are not part of it, nor are those past a pooler
/// ([`Config::direct_url`](super::Config::direct_url)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Maximum number of connections, see
    /// [`Config::max_connections`](super::Config::max_connections).
    pub max_connections: usize,
    /// Number of connections that are open.
    pub open: usize,
    /// Number of connections that statements, transactions and streams hold, including those that
    /// are being opened or reset.
    pub in_use: usize,
    /// Number of open connections that are not in use.
    pub idle: usize,
    /// Number of statements that wait for a connection.
    pub waiting: usize,
    /// How often a connection was acquired since the start.
    pub acquired: u64,
    /// How many of them had to wait.
    pub waited: u64,
    /// Total time that those waited.
    pub wait_time: Duration,
    /// Number of statements that were refused at once ([`Busy`]) since the start.
    pub refused: u64,
    /// Number of statements that timed out waiting, after
    /// [`Config::acquire_timeout`](super::Config::acquire_timeout), since the start.
    pub timed_out: u64,
    /// Number of connections that were replaced because of the memory of their server process
    /// ([`Config::connection_memory`](super::Config::connection_memory)), since the start.
    pub replaced: u64,
    /// The busiest tenants, at most [`PoolStats::BUSIEST`]: by connections in use and statements
    /// that wait, then by refused statements, then by acquired connections.
    pub tenants: Vec<TenantPoolStats>,
}

/// Figures of one tenant in the pool of this process. Those since the start begin again when no
/// handle of the tenant is left and its cache entry has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantPoolStats {
    /// The id of the tenant.
    pub id: TenantId,
    /// The slug of the tenant.
    pub slug: Slug,
    /// Number of connections that it holds.
    pub in_use: usize,
    /// Number of its statements that wait for a connection.
    pub waiting: usize,
    /// How often it has acquired a connection.
    pub acquired: u64,
    /// Number of its statements that were refused at once.
    pub refused: u64,
}

/// What a tenant has done in the pool.
#[derive(Debug, Default)]
pub(super) struct TenantUsage {
    acquired: AtomicU64,
    refused: AtomicU64,
}

impl PoolStats {
    /// Maximum number of tenants in [`PoolStats::tenants`].
    pub const BUSIEST: usize = 10;

    pub(super) fn read(pool: &TenantPool, cache: &TenantCache) -> Self {
        Self { tenants: busiest(TenantPoolStats::read(pool, cache)), ..Self::without_tenants(pool) }
    }

    pub(super) fn without_tenants(pool: &TenantPool) -> Self {
        let load = pool.load();
        let (in_use, waiting) = load.total();
        Self {
            max_connections: load.max_connections,
            open: load.open,
            in_use,
            idle: load.idle,
            waiting,
            acquired: load.counts.acquired,
            waited: load.counts.waited,
            wait_time: load.counts.wait_time,
            refused: load.counts.refused,
            timed_out: load.counts.timed_out,
            replaced: load.replaced,
            tenants: Vec::new(),
        }
    }
}

impl TenantPoolStats {
    /// Those of all tenants that have used the pool.
    pub(super) fn read(pool: &TenantPool, cache: &TenantCache) -> Vec<Self> {
        let load = pool.load();
        let all = cache.open_tenants().into_iter().map(|tenant| {
            let (in_use, waiting) = load.of(tenant.id);
            let acquired = tenant.usage.acquired.load(Ordering::Relaxed);
            let refused = tenant.usage.refused.load(Ordering::Relaxed);
            Self { id: tenant.id, slug: tenant.slug.clone(), in_use, waiting, acquired, refused }
        });
        all.filter(|tenant| tenant.load() > (0, 0, 0)).collect()
    }

    fn load(&self) -> (usize, u64, u64) {
        (self.in_use + self.waiting, self.refused, self.acquired)
    }
}

/// The busiest tenants in descending order.
pub(super) fn busiest(mut all: Vec<TenantPoolStats>) -> Vec<TenantPoolStats> {
    if all.len() > PoolStats::BUSIEST {
        all.select_nth_unstable_by_key(PoolStats::BUSIEST, |tenant| Reverse(tenant.load()));
        all.truncate(PoolStats::BUSIEST);
    }
    all.sort_by_key(|tenant| Reverse(tenant.load()));
    all
}

impl TenantUsage {
    /// Counts a checkout.
    pub(super) fn count<T>(&self, checkout: &Result<T, sea_orm::DbErr>) {
        match checkout {
            Ok(_) => self.acquired.fetch_add(1, Ordering::Relaxed),
            Err(error) if Busy::find(error).is_some() => {
                self.refused.fetch_add(1, Ordering::Relaxed)
            }
            Err(_) => 0,
        };
    }
}

impl Tenancy {
    /// Figures of the pool of this process at this moment, for a health page or for metrics. Takes
    /// time in proportion to the number of tenants in the cache, and no connection.
    ///
    /// ```no_run
    /// # fn example(tenancy: &tenantry::Tenancy) {
    /// let stats = tenancy.pool_stats();
    /// println!("{} of {} connections in use", stats.in_use, stats.max_connections);
    /// for tenant in stats.tenants {
    ///     println!("{}: {} in use, {} waiting", tenant.slug, tenant.in_use, tenant.waiting);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn pool_stats(&self) -> PoolStats {
        PoolStats::read(&self.inner.pool, &self.inner.cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u64) -> TenantPoolStats {
        TenantPoolStats {
            id: TenantId::generate(),
            slug: format!("tenant-{number}").parse().unwrap(),
            in_use: 0,
            waiting: 0,
            acquired: number,
            refused: 0,
        }
    }

    #[test]
    fn the_busiest_tenants_are_those_with_most_connections_then_refusals_then_statements() {
        let mut all: Vec<_> = (1..100).map(tenant).collect();
        (all[5].in_use, all[6].waiting, all[7].refused) = (1, 3, 50);
        let busiest = busiest(all);
        let slugs: Vec<_> = busiest.iter().map(|tenant| tenant.slug.as_str()).collect();
        assert_eq!(slugs.len(), PoolStats::BUSIEST);
        assert_eq!(slugs[..4], ["tenant-7", "tenant-6", "tenant-8", "tenant-99"]);
    }
}
