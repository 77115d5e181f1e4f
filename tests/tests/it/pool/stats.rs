//! Figures of the pool.

use std::{collections::HashMap, time::Duration};

use metrics_util::{
    CompositeKey,
    debugging::{DebugValue, DebuggingRecorder},
};
use sea_orm::TransactionTrait;
use tenantry::{Busy, PoolStats};

use super::{Fixture, pid};
use crate::support::http_server::eventually;

/// A pool of four connections, all held by the first tenant. One statement of the second waits, and
/// one was refused.
async fn busy() -> (Fixture, Vec<tenantry::TenantTransaction>, tokio::task::JoinHandle<i32>) {
    let it = Fixture::new(2, |config| config.max_waiting = 1).await;
    let held = it.hold(4).await;
    let two = it.tenants[1].clone();
    let waiting = tokio::spawn(async move { pid(&two).await });
    eventually("a statement waits", async || it.tenancy.pool_stats().waiting == 1).await;
    let refused = it.tenants[1].begin().await.unwrap_err();
    assert!(Busy::find(&refused).is_some());
    (it, held, waiting)
}

#[tokio::test]
async fn stats_show_connections_waits_and_refusals_and_the_tenants_behind_them() {
    let (it, held, waiting) = busy().await;
    let stats = it.tenancy.pool_stats();
    let PoolStats { max_connections, open, in_use, idle, refused, timed_out, replaced, .. } = stats;
    assert_eq!(replaced, 0);
    assert_eq!((max_connections, open, in_use, idle, refused, timed_out), (4, 4, 4, 0, 1, 0));
    let tenants = stats.tenants.iter();
    let tenants: Vec<_> =
        tenants.map(|it| (it.slug.as_str(), it.in_use, it.waiting, it.refused)).collect();
    assert_eq!(tenants, [("tenant-1", 4, 0, 0), ("tenant-2", 0, 1, 1)]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(held);
    waiting.await.unwrap();
    eventually("all are idle", async || it.tenancy.pool_stats().in_use == 0).await;
    let after = it.tenancy.pool_stats();
    assert_eq!((after.waiting, after.waited - stats.waited, after.refused), (0, 1, 1));
    assert!(after.acquired > stats.acquired);
    assert!(after.wait_time - stats.wait_time >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_wait_that_times_out_is_counted() {
    let it = Fixture::new(2, |config| config.acquire_timeout = Duration::from_millis(50)).await;
    let _held = it.hold(4).await;
    it.tenants[1].begin().await.unwrap_err();
    assert_eq!(it.tenancy.pool_stats().timed_out, 1);
}

#[tokio::test]
async fn metrics_have_the_same_figures() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (it, _held, waiting) = busy().await;
    let mut seen: HashMap<String, f64> = HashMap::new();
    let name = |key: &CompositeKey| {
        let labels = key.key().labels().filter(|label| label.key() != "database");
        let labels: Vec<_> = labels.map(metrics::Label::value).collect();
        format!("{} {}", key.key().name(), labels.join(" "))
    };
    eventually("the waiting statement is published", async || {
        for (key, _, _, value) in snapshots.snapshot().into_vec() {
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.0,
                DebugValue::Histogram(values) => values.len() as f64,
            };
            *seen.entry(name(&key)).or_default() = value;
        }
        seen.get("tenantry_pool_waiting ") == Some(&1.0)
    })
    .await;
    for (name, value) in [
        ("tenantry_pool_max_connections ", 4.0),
        ("tenantry_pool_connections in_use", 4.0),
        ("tenantry_pool_connections idle", 0.0),
        ("tenantry_pool_refused_total ", 1.0),
        ("tenantry_pool_timed_out_total ", 0.0),
        ("tenantry_pool_replaced_total ", 0.0),
        ("tenantry_tenant_connections tenant-1", 4.0),
        ("tenantry_tenant_waiting tenant-2", 1.0),
        ("tenantry_tenant_refused_total tenant-2", 1.0),
        ("tenantry_tenant_connections _other", 0.0),
    ] {
        assert_eq!(seen.get(name), Some(&value), "{name}: {seen:?}");
    }
    assert!(seen.contains_key("tenantry_pool_wait_seconds "), "{seen:?}");
    drop(_held);
    waiting.await.unwrap();
    drop(it);
}
