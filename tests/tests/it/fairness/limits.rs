//! Limits of one tenant, stored in the registry.

use std::{num::NonZeroU32, time::Duration};

use entity::guard;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, TransactionTrait};
use serde_json::Value;
use tenantry::{Busy, Error, Limits, Tenancy, Tenant, TenantTransaction};
use tokio::time::timeout;

use super::Fixture;
use crate::support::{http_server::eventually, process::Ran, slug};

/// As many transactions as the tenant may have at once.
async fn all(tenant: &Tenant) -> Vec<TenantTransaction> {
    let mut held = Vec::new();
    loop {
        match timeout(Duration::from_millis(300), tenant.begin()).await {
            Ok(Ok(txn)) => held.push(txn),
            Ok(Err(error)) if Busy::find(&error).is_none() => panic!("{error}"),
            // It is refused because too many wait, or it waits.
            Ok(Err(_)) | Err(_) => return held,
        }
    }
}

async fn most(tenant: &Tenant) -> usize {
    let held = all(tenant).await;
    let most = held.len();
    for txn in held {
        txn.rollback().await.unwrap();
    }
    most
}

fn limits(max_connections: u32, max_waiting: Option<u32>) -> Limits {
    Limits { max_connections: NonZeroU32::new(max_connections), max_waiting }
}

#[tokio::test]
async fn a_limit_applies_to_the_next_statement_of_one_tenant_in_every_process() {
    let it = Fixture::new(2, |_| {}).await;
    let other_process = Tenancy::connect(&it.db.config()).await.unwrap();
    let [one, two] = [it.tenant(1).await, it.tenant(2).await];
    assert_eq!(most(&one).await, 7);
    other_process.limit(&slug("tenant-1"), limits(2, Some(0))).await.unwrap();
    // On handles that are open, too.
    eventually("the limit is heard of", async || most(&one).await == 2).await;
    assert_eq!(most(&two).await, 7, "the other tenant has none");
    let held = all(&one).await;
    let error = guard::Entity::find().count(&one).await.unwrap_err();
    assert_eq!(Busy::find(&error).map(|busy| busy.waiting), Some(0), "{error}");
    drop(held);
    // More than its share, but never the reserved connections.
    it.tenancy.limit(&slug("tenant-1"), limits(1000, None)).await.unwrap();
    assert_eq!(most(&one).await, 8);
    it.tenancy.limit(&slug("tenant-1"), Limits::default()).await.unwrap();
    assert_eq!(most(&one).await, 7);
    let unknown = it.tenancy.limit(&slug("absent"), limits(1, None)).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownTenant(_)), "{unknown}");
    other_process.close().await;
}

#[tokio::test]
async fn the_operator_sets_and_sees_limits() {
    let it = Fixture::new(2, |_| {}).await;
    let one = it.tenant(1).await;
    let tenantry = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        Ran::on("tenantry", &it.db.url(), &words)
    };
    let shown = || -> Value {
        serde_json::from_str(&tenantry("tenant show tenant-1 --json").exits(0).stdout).unwrap()
    };
    assert_eq!(
        (&shown()["max_connections"], &shown()["max_waiting"]),
        (&Value::Null, &Value::Null)
    );
    tenantry("tenant limit tenant-1 --connections 3 --waiting 5").exits(0);
    assert_eq!((&shown()["max_connections"], &shown()["max_waiting"]), (&3.into(), &5.into()));
    eventually("the limit is heard of", async || most(&one).await == 3).await;
    let table = tenantry("tenant show tenant-1").exits(0).stdout;
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row("connections").ends_with('3') && row("waiting").ends_with('5'), "{table}");
    // An option that is omitted is reset to the default.
    tenantry("tenant limit tenant-1 --waiting 0").exits(0);
    assert_eq!((&shown()["max_connections"], &shown()["max_waiting"]), (&Value::Null, &0.into()));
    tenantry("tenant limit tenant-1").exits(0);
    assert_eq!(
        (&shown()["max_connections"], &shown()["max_waiting"]),
        (&Value::Null, &Value::Null)
    );
    tenantry("tenant limit tenant-1 --connections 0").exits(2);
    tenantry("tenant limit absent --connections 1").exits(1).complains(["absent"]);
}

#[tokio::test]
async fn the_registry_rejects_invalid_limits() {
    let it = Fixture::new(1, |_| {}).await;
    let plain = it.db.plain().await;
    for limit in ["max_connections = 0", "max_connections = -1", "max_waiting = -1"] {
        let sql = format!("UPDATE registry.tenants SET {limit}");
        let error = plain.execute_unprepared(&sql).await.unwrap_err().to_string();
        assert!(error.contains("_check"), "{error}");
    }
}
