//! Neither one tenant nor creations and drops take the whole pool from the others.

mod http;
mod limits;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use entity::guard;
use futures_util::future::join_all;
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, Statement, TransactionTrait,
};
use tenantry::{Busy, Config, DbErrorKind, Error, NewTenant, Tenancy, Tenant};
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{TestDb, http_server::eventually, slug};

/// The duration of a slow statement, and the maximum of one that has not waited for it.
const SLOW: Duration = Duration::from_secs(4);
const PROMPT: Duration = Duration::from_secs(3);

struct Fixture {
    tenancy: Tenancy,
    db: TestDb,
}

impl Fixture {
    /// A tenancy whose tenants this process has not resolved yet.
    async fn new(tenants: usize, change: impl FnOnce(&mut Config)) -> Self {
        let db = TestDb::new().await;
        let making = db.tenancy().await;
        for n in 1..=tenants {
            making.create(NewTenant::new(slug(&format!("tenant-{n}")))).await.unwrap();
        }
        making.close().await;
        let mut config = db.config();
        change(&mut config);
        Self { tenancy: Tenancy::connect(&config).await.unwrap(), db }
    }

    async fn tenant(&self, number: usize) -> Tenant {
        self.tenancy.tenant(&slug(&format!("tenant-{number}"))).await.unwrap()
    }

    /// Clients that send one slow statement after the other.
    async fn flood(&self, tenant: usize, clients: usize) -> Flood {
        let tenant = self.tenant(tenant).await;
        let client = |_| {
            let tenant = tenant.clone();
            tokio::spawn(async move {
                loop {
                    if tenant.execute_raw(sleep_statement()).await.is_err() {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        };
        Flood((0..clients).map(client).collect())
    }

    /// Number of connections that execute slow statements.
    async fn sleeping(&self) -> i64 {
        let ask = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        let plain = self.db.plain().await;
        let row = plain.query_one_raw(Statement::from_string(DbBackend::Postgres, ask)).await;
        row.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    /// Resolves some tenants and uses each of them several times; all at once.
    async fn others_are_served(&self, numbers: std::ops::RangeInclusive<usize>) {
        let request = async |number: usize| {
            for _ in 0..5 {
                let started = Instant::now();
                let tenant = self.tenant(number).await;
                guard::Entity::find().count(&tenant).await.unwrap();
                let txn = tenant.begin().await.unwrap();
                guard::Entity::find().all(&txn).await.unwrap();
                txn.commit().await.unwrap();
                assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
                sleep(Duration::from_millis(50)).await;
            }
        };
        join_all(numbers.map(request)).await;
    }
}

/// Clients that are stopped at the end.
struct Flood(Vec<JoinHandle<()>>);

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn sleep_statement() -> Statement {
    let sql = format!("SELECT pg_sleep({})", SLOW.as_secs());
    Statement::from_string(DbBackend::Postgres, sql)
}

#[tokio::test]
async fn a_slow_tenant_with_few_or_many_clients_does_not_slow_down_the_others() {
    for clients in [12, 200, 1000] {
        let it = Fixture::new(9, |_| {}).await;
        let flood = it.flood(1, clients).await;
        eventually("the tenant has its share", async || it.sleeping().await == 7).await;
        it.others_are_served(2..=9).await;
        assert_eq!(it.sleeping().await, 7);
        drop(flood);
    }
}

#[tokio::test]
async fn several_slow_tenants_do_not_slow_down_the_others() {
    let it = Fixture::new(12, |_| {}).await;
    let mut floods = Vec::new();
    for tenant in 1..=4 {
        floods.push(it.flood(tenant, 50).await);
    }
    eventually("all but the reserved connections are slow", async || it.sleeping().await == 8)
        .await;
    it.others_are_served(5..=12).await;
}

#[tokio::test]
async fn a_small_pool_is_shared_too() {
    for connections in [2, 3, 4] {
        let it = Fixture::new(4, |config| config.max_connections = connections).await;
        let flood = it.flood(1, 30).await;
        let share = i64::from(connections).div_euclid(2) + i64::from(connections == 3);
        eventually("the tenant has its share", async || it.sleeping().await == share).await;
        it.others_are_served(2..=4).await;
        drop(flood);
    }
}

#[tokio::test]
async fn tenants_can_be_created_dropped_and_resolved_while_another_is_slow() {
    let it = Fixture::new(2, |_| {}).await;
    let _flood = it.flood(1, 100).await;
    eventually("the tenant has its share", async || it.sleeping().await == 7).await;
    let started = Instant::now();
    it.tenancy.create(NewTenant::new(slug("new"))).await.unwrap();
    it.tenancy.domain_add(&slug("new"), &"new.example.org".parse().unwrap()).await.unwrap();
    it.tenancy.tenant_by_host("new.example.org").await.unwrap();
    it.tenancy.drop(&slug("new")).await.unwrap();
    it.tenancy.ping().await.unwrap();
    assert!(started.elapsed() < 2 * PROMPT, "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn slow_creations_do_not_block_tenants_and_resolution() {
    let seed = async |_: &tenantry::TenantTransaction| {
        sleep(SLOW).await;
        Ok::<_, std::io::Error>(())
    };
    let it = Fixture::new(8, |config| *config = config.clone().seed(seed)).await;
    let creations = (0..20).map(|n| {
        let tenancy = it.tenancy.clone();
        tokio::spawn(async move { tenancy.create(NewTenant::new(slug(&format!("new-{n}")))).await })
    });
    let creations: Vec<_> = creations.collect();
    let in_progress = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction'";
    let plain = it.db.plain().await;
    eventually("creations are in progress", async || {
        let ask = Statement::from_string(DbBackend::Postgres, in_progress);
        let row = plain.query_one_raw(ask).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap() == 7
    })
    .await;
    it.others_are_served(1..=8).await;
    creations.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn too_many_waiting_statements_of_one_tenant_are_refused_at_once() {
    let it = Fixture::new(2, |config| (config.max_connections, config.max_waiting) = (2, 3)).await;
    let (tenant, other) = (it.tenant(1).await, it.tenant(2).await);
    let held = tenant.begin().await.unwrap();
    let waiting = (0..3).map(|_| {
        let tenant = tenant.clone();
        tokio::spawn(async move { guard::Entity::find().count(&tenant).await })
    });
    let waiting: Vec<_> = waiting.collect();
    tokio::task::yield_now().await;
    let error = guard::Entity::find().all(&tenant).await.unwrap_err();
    let busy = Busy::find(&error).expect("it is refused as busy");
    assert_eq!((busy.slug.as_str(), busy.waiting), ("tenant-1", 3));
    // Its kind allows a retry; as an error of the tenancy it has its own type.
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::Unavailable);
    assert!(matches!(Error::from(error), Error::Busy(_)));
    assert!(Busy::find(&tenant.begin().await.map(drop).unwrap_err()).is_some());
    guard::Entity::find().all(&other).await.unwrap();
    // Statements of a transaction need no other connection.
    guard::Entity::find().all(&held.begin().await.unwrap()).await.unwrap();
    held.commit().await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    guard::Entity::find().all(&tenant).await.unwrap();
}

#[tokio::test]
async fn a_burst_of_one_tenant_is_served_to_the_last_statement() {
    let it = Fixture::new(1, |_| {}).await;
    let tenant = Arc::new(it.tenant(1).await);
    let burst = (0..200).map(async |_| guard::Entity::find().count(&*tenant).await);
    for served in join_all(burst).await {
        served.unwrap();
    }
}
