//! Faults behind and of a pooler in transaction mode: every answer is of the right tenant, and the
//! servers recover.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry::Config;
use tests::pgbouncer::ROLE;
use tokio::time::sleep;

use super::load::Load;
use crate::support::{
    TestDb,
    database::{admin, connect},
    route::Route,
};

/// How long the load runs beside a fault.
const WHILE: Duration = Duration::from_millis(1500);

fn few(config: Config) -> Config {
    Config { max_connections: 8, ..config }
}

#[tokio::test]
async fn statements_are_evicted_and_prepared_again() {
    for route in Route::poolers("evicted statements").await {
        // Each server has eight kinds of statements for each tenant.
        let small = |config| Config { statement_cache: Some(5), ..few(config) };
        let load = Load::new(TestDb::new().await, &route, 2, 8, small).await;
        let answers = load.during(sleep(WHILE)).await;
        answers.assert_own(route.name());
        answers.assert_none_failed(route.name());
        load.assert_recovered().await;
        route.assert_shared();
        load.close().await;
    }
}

#[tokio::test]
async fn server_connections_are_terminated() {
    for route in Route::poolers("terminated server connections").await {
        let load = Load::new(TestDb::new().await, &route, 2, 4, few).await;
        let terminate = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE usename = '{ROLE}' AND datname = '{}'",
            load.db.name()
        );
        let answers = load.during(async {
            let started = Instant::now();
            while started.elapsed() < WHILE {
                sleep(Duration::from_millis(150)).await;
                admin(&terminate).await;
            }
        });
        answers.await.assert_own(route.name());
        load.assert_recovered().await;
        load.close().await;
    }
}

#[tokio::test]
async fn the_pooler_is_killed_and_started_again() {
    for mut route in Route::poolers("a killed PgBouncer").await {
        let load = Load::new(TestDb::new().await, &route, 2, 4, few).await;
        for _ in 0..2 {
            load.during(sleep(WHILE / 3)).await.assert_own(route.name());
            let down = load.during(async {
                route.kill().await;
                sleep(Duration::from_millis(300)).await;
                route.restart().await;
                sleep(WHILE / 3).await;
            });
            let down = down.await;
            assert!(down.foreign.is_empty(), "{:?}", down.foreign);
        }
        load.assert_recovered().await;
        load.close().await;
    }
}

#[tokio::test]
async fn types_of_columns_change() {
    for route in Route::poolers("type changes").await {
        let load = Load::new(TestDb::new().await, &route, 2, 4, few).await;
        let plain = load.db.plain().await;
        let answers = load.during(async {
            let started = Instant::now();
            for length in 200.. {
                for tenant in 0..load.tenants {
                    let sql = format!(
                        "ALTER TABLE tenant_{tenant}.guards
                            ALTER COLUMN position TYPE varchar({length})"
                    );
                    plain.execute_unprepared(&sql).await.unwrap();
                    sleep(Duration::from_millis(20)).await;
                }
                if started.elapsed() > WHILE {
                    break;
                }
            }
        });
        let answers = answers.await;
        answers.assert_own(route.name());
        answers.assert_none_failed(route.name());
        load.assert_recovered().await;
        load.close().await;
    }
}

#[tokio::test]
async fn waiting_for_a_pooler_without_free_connections_has_a_bound() {
    for route in Route::poolers_with(3, "an exhausted PgBouncer").await {
        let db = TestDb::new().await;
        let alter = format!("ALTER ROLE {ROLE} IN DATABASE {}", db.name());
        admin(&format!("{alter} SET statement_timeout = '2s'")).await;
        let impatient = |config| Config {
            acquire_timeout: Duration::from_millis(700),
            statement_timeout: Some(Duration::from_secs(2)),
            ..few(config)
        };
        let load = Load::new(db, &route, 1, 2, impatient).await;
        // Another program holds all server connections.
        let other = connect(&route.url(&load.db)).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let txn = other.begin().await.unwrap();
            txn.execute_unprepared("SELECT 1").await.unwrap();
            held.push(txn);
        }
        let started = Instant::now();
        let answers = load.during(async { sleep(Duration::from_millis(100)).await }).await;
        assert_eq!((answers.right, answers.foreign.len()), (0, 0), "{answers:?}");
        assert!(!answers.failed.is_empty());
        assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
        drop(held);
        load.assert_recovered().await;
        load.during(sleep(WHILE / 3)).await.assert_own(route.name());
        load.close().await;
    }
}
