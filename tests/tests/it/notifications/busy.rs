//! All connections are taken.

use std::time::{Duration, Instant};

use sea_orm::TransactionTrait;
use tenantry::{Availability, Tenancy, Tenant, TenantTransaction};

use super::{refusal, set_status};
use crate::support::{TestDb, http_server::eventually, slug};

/// Less than a call waits for a connection of the pool.
const SOON: Duration = Duration::from_secs(3);

struct Fixture {
    tenancy: Tenancy,
    one: Tenant,
    /// Every connection is in one of these.
    _held: Vec<TenantTransaction>,
    db: TestDb,
}

/// Two tenants, of which the second one has taken all connections.
async fn fixture() -> Fixture {
    let db = TestDb::new().await;
    let mut config = db.config();
    (config.max_connections, config.acquire_timeout) = (3, Duration::from_secs(20));
    (config.tenant_share, config.reserved_connections) = (100, 0);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let other = db.tenancy().await;
    for name in ["tenant-1", "tenant-2"] {
        other.create(tenantry::NewTenant::new(slug(name))).await.unwrap();
    }
    other.domain_add(&slug("tenant-1"), &"guards.example.org".parse().unwrap()).await.unwrap();
    other.close().await;
    let one = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    let two = tenancy.tenant(&slug("tenant-2")).await.unwrap();
    let found = tenancy.tenant_by_host("guards.example.org").await.unwrap();
    assert_eq!(found.id(), one.id());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(two.begin().await.unwrap());
    }
    Fixture { tenancy, one, _held: held, db }
}

#[tokio::test]
async fn a_moved_host_name_leads_to_its_new_tenant_at_once_while_all_connections_are_taken() {
    let it = fixture().await;
    let (host, other) = ("guards.example.org".parse().unwrap(), it.db.tenancy().await);
    other.domain_remove(&slug("tenant-1"), &host).await.unwrap();
    other.domain_add(&slug("tenant-2"), &host).await.unwrap();
    let moved = Instant::now();
    eventually("the host name leads to the new tenant", async || {
        let found = it.tenancy.tenant_by_host(host.as_str()).await;
        found.is_ok_and(|found| *found.slug() == slug("tenant-2"))
    })
    .await;
    assert!(moved.elapsed() < SOON, "{:?}", moved.elapsed());
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_at_once_while_all_connections_are_taken() {
    let it = fixture().await;
    let plain = it.db.plain().await;
    set_status(&plain, it.one.slug(), "suspended").await;
    let suspended = Instant::now();
    // It may be that the announcement has not arrived, and the statement waits for a connection.
    eventually("it is refused", async || {
        let asked = tokio::time::timeout(Duration::from_millis(500), refusal(&it.one)).await;
        asked == Ok(Some(Availability::Suspended))
    })
    .await;
    assert!(suspended.elapsed() < SOON, "{:?}", suspended.elapsed());
}

#[tokio::test]
async fn many_notifications_at_once_are_all_handled_while_all_connections_are_taken() {
    let it = fixture().await;
    let plain = it.db.plain().await;
    let names: Vec<_> = (10..60).map(|n| slug(&format!("tenant-{n}"))).collect();
    let other = it.db.tenancy().await;
    let mut tenants = Vec::new();
    for name in &names {
        other.create(tenantry::NewTenant::new(name.clone())).await.unwrap();
        tenants.push(it.tenancy.tenant(name).await.unwrap());
    }
    for name in &names {
        set_status(&plain, name, "archived").await;
    }
    let archived = Instant::now();
    for tenant in &tenants {
        eventually("it is refused", async || {
            let asked = tokio::time::timeout(Duration::from_millis(500), refusal(tenant)).await;
            asked == Ok(Some(Availability::Archived))
        })
        .await;
    }
    assert!(archived.elapsed() < SOON, "{:?}", archived.elapsed());
}
