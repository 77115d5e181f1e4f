//! A tenant's work inside a transaction of shared tables.

use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, Statement, TransactionTrait,
};
use tenantry::{DbErrorKind, Misuse, OtherSchema, Tenancy, TenantUnavailable};
use uuid::Uuid;

use super::{
    connection::{insert_order, insert_plan, with_tenants},
    entities::{order, plan},
    *,
};
use crate::support::{catalog::texts, slug};

#[tokio::test]
async fn the_tenants_work_is_committed_with_the_shared_transaction() {
    let (_db, _plain, tenancy, [acme, beta]) = with_tenants(["acme", "beta"], |_| {}).await;
    let shared = tenancy.shared();
    for commits in [false, true] {
        let txn = shared.begin().await.unwrap();
        let plan = insert_plan(&txn, "free").await;
        for tenant in [&acme, &beta] {
            let work = txn.for_tenant(tenant).await.unwrap();
            // It sees what the transaction has written.
            insert_order(&work, plan.id).await.unwrap();
            assert_eq!(work.slug(), tenant.slug());
            work.commit().await.unwrap();
        }
        match commits {
            true => txn.commit().await.unwrap(),
            false => txn.rollback().await.unwrap(),
        }
        for tenant in [&acme, &beta] {
            let orders = order::Entity::find().count(tenant).await.unwrap();
            assert_eq!(orders, u64::from(commits));
        }
        assert_eq!(plan::Entity::find().count(&shared).await.unwrap(), u64::from(commits));
    }
}

#[tokio::test]
async fn a_failure_of_the_tenants_work_rolls_back_nothing_else() {
    let (_db, _plain, tenancy, [acme]) = with_tenants(["acme"], |_| {}).await;
    let txn = tenancy.shared().begin().await.unwrap();
    let plan = insert_plan(&txn, "free").await;
    // An error of the server, work that is dropped, and work that is rolled back.
    let work = txn.for_tenant(&acme).await.unwrap();
    insert_order(&work, plan.id).await.unwrap();
    let error = insert_order(&work, Uuid::now_v7()).await.unwrap_err();
    assert!(matches!(DbErrorKind::of(&error), DbErrorKind::ForeignKey(_)), "{error}");
    drop(work);
    let work = txn.for_tenant(&acme).await.unwrap();
    insert_order(&work, plan.id).await.unwrap();
    work.rollback().await.unwrap();
    insert_plan(&txn, "failed").await;
    txn.commit().await.unwrap();
    assert_eq!(order::Entity::find().count(&acme).await.unwrap(), 0);
    assert_eq!(plan::Entity::find().count(&acme).await.unwrap(), 2);
}

#[tokio::test]
async fn the_tenant_must_be_available_and_of_the_same_tenancy() {
    let (db, plain, tenancy, [acme, beta]) = with_tenants(["acme", "beta"], |_| {}).await;
    let txn = tenancy.shared().begin().await.unwrap();
    let other = Tenancy::connect(&config(&db, [PLANS])).await.unwrap();
    let foreign = other.tenant(&slug("acme")).await.unwrap();
    let error = txn.for_tenant(&foreign).await.unwrap_err();
    assert_eq!(Misuse::find(&error), Some(&Misuse::OtherTenancy { slug: slug("acme") }));

    let work = txn.for_tenant(&beta).await.unwrap();
    let theirs = Statement::from_string(DbBackend::Postgres, "SELECT FROM acme.orders");
    let error = work.query_all_raw(theirs).await.unwrap_err();
    assert_eq!(OtherSchema::find(&error).unwrap().slug, Some(slug("beta")));

    let suspend = "UPDATE registry.tenants SET status = 'suspended' WHERE slug IN ('acme', 'beta')";
    texts(&plain, suspend).await;
    for tenant in [&acme, &beta] {
        tenantry_registry::notify::notify_all(&plain, &[tenant.id()]).await.unwrap();
    }
    let refused = async || {
        let error = insert_order(&work, Uuid::now_v7()).await.unwrap_err();
        TenantUnavailable::find(&error).is_some()
    };
    while !refused().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let error = txn.for_tenant(&acme).await.unwrap_err();
    assert!(TenantUnavailable::find(&error).is_some(), "{error}");
    drop(work);
    insert_plan(&txn, "goes on").await;
    txn.commit().await.unwrap();
}
