//! The example `worker`: jobs of all tenants in one shared table.

use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, TransactionTrait};
use tenantry::{NewTenant, Tenant};

use super::*;
use crate::support::slug;

#[path = "../../../../service/tenancy/examples/worker.rs"]
#[expect(dead_code, reason = "its `main`")]
mod worker;

use worker::{Worked, enqueue, job, letter, work};

async fn enqueue_one(tenant: &Tenant, recipient: &str) -> job::Model {
    let txn = tenant.begin().await.unwrap();
    let job = enqueue(&txn, recipient).await.unwrap();
    txn.commit().await.unwrap();
    job
}

/// The recipients of a tenant's letters, sorted.
async fn letters(tenant: &Tenant) -> Vec<String> {
    let letters = letter::Entity::find().all(tenant).await.unwrap().into_iter();
    let mut recipients: Vec<String> = letters.map(|letter| letter.recipient).collect();
    recipients.sort();
    recipients
}

#[tokio::test]
async fn two_workers_do_each_job_once_and_failed_jobs_leave_nothing_in_their_tenant() {
    let db = TestDb::new().await;
    let [one, two] = [worker::connect(&db.url()).await, worker::connect(&db.url()).await];
    let [one, two] = [one.unwrap(), two.unwrap()];
    // Both have a connection from here on, so that neither does all jobs while the other opens one.
    for worker in [&one, &two] {
        assert_eq!(work(worker).await.unwrap(), Worked::default());
    }
    let mut tenants = Vec::new();
    for name in ["acme", "beta", "gone"] {
        one.create(NewTenant::new(slug(name))).await.unwrap();
        tenants.push(one.tenant(&slug(name)).await.unwrap());
    }
    let mut sent: Vec<String> = (0..20).map(|n| format!("{n:02}@example.org")).collect();
    for recipient in &sent {
        for tenant in &tenants[..2] {
            enqueue_one(tenant, recipient).await;
        }
    }
    drop(enqueue(&tenants[0].begin().await.unwrap(), "rolled@back").await.unwrap());
    let failing = [
        enqueue_one(&tenants[0], "nobody").await,
        enqueue_one(&tenants[2], "late@example.org").await,
    ];
    one.drop(&slug("gone")).await.unwrap();

    let (first, second) = tokio::join!(work(&one), work(&two));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.done > 0 && second.done > 0, "{first:?} {second:?}");
    assert_eq!((first.done + second.done, first.failed + second.failed), (40, 2));
    assert_eq!(work(&one).await.unwrap(), Worked::default());
    sent.sort();
    for tenant in &tenants[..2] {
        assert_eq!(letters(tenant).await, sent);
    }
    for (failed, error) in failing.iter().zip(["is not an address", "gone"]) {
        let failed = job::Entity::find_by_id(failed.id).one(&one.shared()).await.unwrap().unwrap();
        assert_eq!(failed.state, "failed");
        assert!(failed.error.as_ref().is_some_and(|it| it.contains(error)), "{failed:?}");
    }
}

#[tokio::test]
async fn a_job_waits_again_when_its_worker_dies() {
    let db = TestDb::new().await;
    let tenancy = worker::connect(&db.url()).await.unwrap();
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    for n in 0..50 {
        enqueue_one(&tenant, &format!("{n}@example.org")).await;
    }
    // Cancelled at any statement, each time a bit later.
    let (mut done, mut cancelled) = (0, 0);
    while done < 50 {
        let limit = std::time::Duration::from_micros(1000 + 300 * cancelled);
        let _ = tokio::time::timeout(limit, work(&tenancy)).await;
        cancelled += 1;
        let letters = letter::Entity::find().count(&tenant).await.unwrap();
        let finished = job::Entity::find().filter(job::Column::State.eq("done"));
        done = finished.count(&tenancy.shared()).await.unwrap();
        // Read one after the other, while nothing works.
        assert!(letters <= done && done <= 50, "{letters} letters, {done} jobs");
    }
    assert_eq!(letters(&tenant).await.len(), 50);
}
