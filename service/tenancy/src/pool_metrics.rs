//! The figures of the pool, for the recorder of the `metrics` crate.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use tenantry_registry::Slug;
use tokio::time::interval;

use super::{
    cache::TenantCache,
    pool::{TenantPool, WAIT_SECONDS},
    pool_stats::{PoolStats, TenantPoolStats, busiest},
};

/// How often the figures are published.
const PERIOD: Duration = Duration::from_secs(5);

/// Maximum number of tenants with series of their own, as a recorder keeps each series for as long
/// as the process runs.
const MAX_TENANTS: usize = 100;

/// The label of all other tenants. No slug has an underscore.
const OTHER: &str = "_other";

/// Publishes the figures until the task is aborted.
pub(super) async fn publish(pool: Arc<TenantPool>, cache: Arc<TenantCache>) {
    describe();
    let mut series = Series { database: pool.database().to_owned(), tenants: HashSet::new() };
    let mut clock = interval(PERIOD);
    loop {
        clock.tick().await;
        series.publish_pool(&PoolStats::without_tenants(&pool));
        series.publish_tenants(&TenantPoolStats::read(&pool, &cache));
    }
}

struct Series {
    database: String,
    /// The slugs of the tenants that have series of their own: those that were among the busiest.
    tenants: HashSet<Slug>,
}

impl Series {
    fn publish_pool(&self, stats: &PoolStats) {
        let database = || vec![Label::new("database", self.database.clone())];
        gauge!("tenantry_pool_max_connections", database()).set(stats.max_connections as f64);
        for (state, count) in [("in_use", stats.in_use), ("idle", stats.idle)] {
            let mut labels = database();
            labels.push(Label::new("state", state));
            gauge!("tenantry_pool_connections", labels).set(count as f64);
        }
        gauge!("tenantry_pool_waiting", database()).set(stats.waiting as f64);
        counter!("tenantry_pool_acquired_total", database()).absolute(stats.acquired);
        counter!("tenantry_pool_refused_total", database()).absolute(stats.refused);
        counter!("tenantry_pool_timed_out_total", database()).absolute(stats.timed_out);
        counter!("tenantry_pool_replaced_total", database()).absolute(stats.replaced);
    }

    fn publish_tenants(&mut self, all: &[TenantPoolStats]) {
        for tenant in busiest(all.to_vec()) {
            if self.tenants.len() < MAX_TENANTS {
                self.tenants.insert(tenant.slug);
            }
        }
        // A tenant that is no longer in the cache uses nothing.
        let own = self.tenants.iter().map(Slug::as_str);
        let mut sums: HashMap<&str, (usize, usize, u64)> =
            own.chain([OTHER]).map(|tenant| (tenant, (0, 0, 0))).collect();
        for tenant in all {
            let is_own = self.tenants.contains(&tenant.slug);
            let sum = sums.entry(if is_own { tenant.slug.as_str() } else { OTHER }).or_default();
            sum.0 += tenant.in_use;
            sum.1 += tenant.waiting;
            sum.2 += tenant.refused;
        }
        for (tenant, (in_use, waiting, refused)) in sums {
            let labels = || {
                let database = Label::new("database", self.database.clone());
                vec![database, Label::new("tenant", tenant.to_owned())]
            };
            gauge!("tenantry_tenant_connections", labels()).set(in_use as f64);
            gauge!("tenantry_tenant_waiting", labels()).set(waiting as f64);
            counter!("tenantry_tenant_refused_total", labels()).absolute(refused);
        }
    }
}

fn describe() {
    describe_gauge!("tenantry_pool_max_connections", Unit::Count, "Maximum number of connections");
    describe_gauge!("tenantry_pool_connections", Unit::Count, "Connections in use and idle ones");
    describe_gauge!("tenantry_pool_waiting", Unit::Count, "Statements that wait for a connection");
    describe_counter!("tenantry_pool_acquired_total", Unit::Count, "Connections acquired");
    describe_counter!(
        "tenantry_pool_refused_total",
        Unit::Count,
        "Statements refused because too many of their tenant were waiting"
    );
    describe_counter!(
        "tenantry_pool_timed_out_total",
        Unit::Count,
        "Statements that timed out waiting for a connection"
    );
    describe_counter!(
        "tenantry_pool_replaced_total",
        Unit::Count,
        "Connections replaced because of the memory of their server process"
    );
    describe_histogram!(WAIT_SECONDS, Unit::Seconds, "Wait for a connection");
    describe_gauge!("tenantry_tenant_connections", Unit::Count, "Connections of one tenant");
    describe_gauge!("tenantry_tenant_waiting", Unit::Count, "Waiting statements of one tenant");
    describe_counter!(
        "tenantry_tenant_refused_total",
        Unit::Count,
        "Statements of one tenant refused because too many were waiting"
    );
}
