//! Connections are released however a statement or transaction is cancelled.

use std::{collections::HashSet, time::Duration};

use entity::guard;
use futures_util::{TryStreamExt, future::join_all};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, Set, Statement,
    TransactionTrait,
};
use tenantry::Tenant;

use super::{Fixture, pid};
use crate::support::{abu, http_server::eventually};

fn sql(text: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, text)
}

/// An operation on a tenant. None of them leaves a row behind.
async fn use_somehow(tenant: &Tenant, how: u32) {
    match how % 9 {
        0 => drop(guard::Entity::find().all(tenant).await),
        1 => drop(tenant.execute_raw(sql("SELECT 1 / 0::int")).await),
        2 => drop(tenant.execute_raw(sql("SELECT pg_sleep(0.003)")).await),
        3 => {
            let Ok(txn) = tenant.begin().await else { return };
            let _ = abu().insert(&txn).await;
        }
        4 => {
            let Ok(txn) = tenant.begin().await else { return };
            let Ok(savepoint) = txn.begin().await else { return };
            let _ = abu().insert(&savepoint).await;
            drop(savepoint);
            let _ = txn.commit().await;
        }
        5 => {
            let rows = sql("SELECT n FROM generate_series(1, 10000) n");
            let Ok(mut rows) = sea_orm::StreamTrait::stream_raw(tenant, rows).await else { return };
            for _ in 0..how % 7 {
                let _ = rows.try_next().await;
            }
        }
        6 => {
            let Ok(txn) = tenant.begin().await else { return };
            let _ = txn.execute_raw(sql("SELECT 1 / 0::int")).await;
            let _ = abu().insert(&txn).await;
            let _ = txn.commit().await;
        }
        7 => {
            let Ok(txn) = tenant.begin().await else { return };
            let _ = abu().insert(&txn).await;
            let _ = txn.rollback().await;
        }
        _ => {
            let Ok(txn) = tenant.begin_with_search_path().await else { return };
            let rows = sql("SELECT n FROM generate_series(1, 1000) n");
            let Ok(mut rows) = sea_orm::StreamTrait::stream_raw(&txn, rows).await else { return };
            let _ = rows.try_next().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_at_any_moment_leaves_every_connection_usable() {
    let it = Fixture::new(6, |_| {}).await;
    let tasks = (0..8_u32).map(|task| {
        let tenants = it.tenants.clone();
        tokio::spawn(async move {
            for round in 0..150_u32 {
                // Pseudo-random, the same in each run of the test.
                let random = (task * 150 + round).wrapping_mul(0x9e37_79b1) >> 7;
                let tenant = &tenants[random as usize % tenants.len()];
                let moment = Duration::from_micros(u64::from(random % 4001));
                let _ = tokio::time::timeout(moment, use_somehow(tenant, random)).await;
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    // All are available at once, none in a transaction or with rows of others.
    let held = it.hold(4).await;
    let mut pids = HashSet::new();
    for txn in &held {
        pids.insert(pid(txn).await);
        assert_eq!(guard::Entity::find().count(txn).await.unwrap(), 0, "something was kept");
    }
    assert_eq!(pids.len(), 4);
    drop(held);
    for tenant in &it.tenants {
        let mut alone = abu();
        alone.name = Set("Zoe".into());
        alone.insert(tenant).await.unwrap();
        // Not in a transaction that was left open: others see the row.
        let plain = it.db.plain().await;
        let count = format!(r#"SELECT count(*) FROM {}.guards"#, tenant.schema().quoted());
        let row = plain.query_one_raw(sql(&count)).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 1);
    }
}

#[tokio::test]
async fn a_panic_releases_its_connection() {
    let it = Fixture::new(1, |config| config.max_connections = 1).await;
    let tenant = it.one().clone();
    let panics = tokio::spawn(async move {
        let txn = tenant.begin().await.unwrap();
        abu().insert(&txn).await.unwrap();
        panic!("on purpose");
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(guard::Entity::find().count(it.one()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_cancelled_slow_statement_does_not_delay_the_next_one() {
    let it = Fixture::new(1, |_| {}).await;
    let tenant = it.one().clone();
    let slow = tokio::spawn(async move { tenant.execute_raw(sql("SELECT pg_sleep(60)")).await });
    let sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'
        AND wait_event = 'PgSleep'";
    let sleeps = async || it.one().query_one_raw(sql(sleeping)).await.unwrap().is_some();
    eventually("the server is at it", sleeps).await;
    slow.abort();
    slow.await.unwrap_err();
    assert_eq!(it.hold(4).await.len(), 4);
    eventually("the server has ended it", async || !sleeps().await).await;
}

#[tokio::test]
async fn a_savepoint_that_outlives_its_transaction_affects_no_other() {
    let it = Fixture::new(1, |config| config.max_connections = 1).await;
    let txn = it.one().begin().await.unwrap();
    let savepoint = txn.begin().await.unwrap();
    txn.commit().await.unwrap();
    drop(savepoint);
    abu().insert(it.one()).await.unwrap();
    assert_eq!(guard::Entity::find().count(it.one()).await.unwrap(), 1);
}

/// What a transaction sees, by name.
async fn names(txn: &impl ConnectionTrait) -> Vec<String> {
    let all = guard::Entity::find().all(txn).await.unwrap();
    let mut names: Vec<_> = all.into_iter().map(|guard| guard.name).collect();
    names.sort_unstable();
    names
}

async fn insert(name: &str, txn: &impl ConnectionTrait) {
    guard::ActiveModel { name: Set(name.into()), ..abu() }.insert(txn).await.unwrap();
}

#[tokio::test]
async fn dropping_a_savepoint_rolls_back_only_the_savepoint() {
    let it = Fixture::new(1, |_| {}).await;
    let txn = it.one().begin().await.unwrap();
    insert("Abu", &txn).await;
    let outer = txn.begin().await.unwrap();
    insert("Bea", &outer).await;
    let inner = outer.begin().await.unwrap();
    insert("Cem", &inner).await;
    drop(inner);
    assert_eq!(names(&outer).await, ["Abu", "Bea"]);
    // An error inside one leaves the rest usable.
    let failed = outer.begin().await.unwrap();
    failed.execute_raw(sql("SELECT 1 / 0::int")).await.unwrap_err();
    drop(failed);
    insert("Dov", &outer).await;
    // Both are dropped, the inner one after the outer one.
    let [outer_2, inner_2] = {
        let outer = outer.begin().await.unwrap();
        insert("Eva", &outer).await;
        let inner = outer.begin().await.unwrap();
        insert("Fay", &inner).await;
        [outer, inner]
    };
    drop(outer_2);
    drop(inner_2);
    outer.commit().await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(names(it.one()).await, ["Abu", "Bea", "Dov"]);
}

#[tokio::test]
async fn a_savepoint_ends_with_the_one_around_it() {
    let it = Fixture::new(1, |config| config.max_connections = 1).await;
    let txn = it.one().begin().await.unwrap();
    let outer = txn.begin().await.unwrap();
    let inner = outer.begin().await.unwrap();
    insert("Abu", &inner).await;
    outer.commit().await.unwrap();
    // It has ended: a rollback fails and a commit does nothing.
    drop(inner);
    let outer = txn.begin().await.unwrap();
    let inner = outer.begin().await.unwrap();
    insert("Bea", &inner).await;
    outer.rollback().await.unwrap();
    inner.commit().await.unwrap();
    let orphan = txn.begin().await.unwrap();
    txn.commit().await.unwrap();
    // The statement would be sent outside a transaction.
    orphan.execute_raw(sql("SELECT 1")).await.unwrap_err();
    orphan.begin().await.unwrap_err();
    drop(orphan);
    assert_eq!(names(it.one()).await, ["Abu"]);
}
