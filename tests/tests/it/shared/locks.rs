//! Waits for shared tables to which tenants' tables refer.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tenantry::{NewTenant, Tenancy};
use tokio::time::timeout;

use super::*;
use crate::support::slug;

const INSERT: &str = "INSERT INTO shared.plans (id, name) VALUES (gen_random_uuid(), 'free')";

/// Inserts plans for a second, each without a long wait.
async fn insert_plans(db: &DatabaseConnection) {
    let end = std::time::Instant::now() + Duration::from_secs(1);
    while std::time::Instant::now() < end {
        // Would time out if a statement of the tenant's queued for the lock.
        timeout(Duration::from_secs(5), db.execute_unprepared(INSERT)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn creating_and_dropping_a_tenant_wait_for_a_shared_table_without_blocking_it() {
    let (db, plain, config) = with_plans().await;
    let other = db.plain().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for drop in [false, true] {
        let txn = plain.begin().await.unwrap();
        txn.execute_unprepared(INSERT).await.unwrap();
        let change = async {
            match drop {
                false => tenancy.create(NewTenant::new(slug("acme"))).await.map(|_| ()),
                true => tenancy.drop(&slug("acme")).await,
            }
        };
        let mut change = std::pin::pin!(change);
        tokio::select! {
            ended = &mut change => panic!("did not wait for the lock: {ended:?}"),
            () = insert_plans(&other) => {}
        }
        txn.commit().await.unwrap();
        timeout(Duration::from_secs(60), change).await.unwrap().unwrap();
    }
}
