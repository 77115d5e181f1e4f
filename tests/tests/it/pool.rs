//! Assignment of connections to tenants.

mod cancelled;
mod given_up;
mod half_open;
mod lost;
mod read_only;
mod stats;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};
use tenantry::{Config, DbErrorKind, NewTenant, Tenancy, Tenant, TenantTransaction};

use crate::support::{TestDb, http_server::eventually, slug};

/// Tenants of one process.
struct Fixture {
    tenants: Vec<Tenant>,
    tenancy: Tenancy,
    db: TestDb,
}

impl Fixture {
    async fn new(tenants: usize, change: impl FnOnce(&mut Config)) -> Self {
        let db = TestDb::new().await;
        let mut config = db.config();
        config.max_connections = 4;
        // One tenant may hold all of them. `fairness` tests its share.
        (config.tenant_share, config.reserved_connections) = (100, 0);
        change(&mut config);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let slugs: Vec<_> = (1..=tenants).map(|n| slug(&format!("tenant-{n}"))).collect();
        let mut handles = Vec::new();
        for slug in slugs {
            tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
            handles.push(tenancy.tenant(&slug).await.unwrap());
        }
        Self { tenants: handles, tenancy, db }
    }

    fn one(&self) -> &Tenant {
        &self.tenants[0]
    }

    /// Begins transactions of the first tenant.
    async fn hold(&self, count: usize) -> Vec<TenantTransaction> {
        let all = join_all((0..count).map(|_| self.one().begin())).await;
        all.into_iter().map(Result::unwrap).collect()
    }
}

/// The server process behind a statement.
async fn pid(db: &impl ConnectionTrait) -> i32 {
    let ask = Statement::from_string(DbBackend::Postgres, "SELECT pg_backend_pid()");
    db.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn a_busy_tenant_uses_every_connection_at_once() {
    let it = Fixture::new(1, |_| {}).await;
    let held = it.hold(4).await;
    let mut pids = HashSet::new();
    for txn in &held {
        pids.insert(pid(txn).await);
    }
    assert_eq!(pids.len(), 4);
}

#[tokio::test]
async fn no_request_waits_while_a_connection_is_idle() {
    let it = Fixture::new(20, |config| config.acquire_timeout = Duration::from_secs(2)).await;
    let held = it.hold(3).await;
    let mut pids = HashSet::new();
    for tenant in &it.tenants {
        pids.insert(pid(tenant).await);
        let txn = tenant.begin().await.unwrap();
        pids.insert(pid(&txn).await);
        txn.commit().await.unwrap();
    }
    assert_eq!(pids.len(), 1, "the one that was left served all");
    drop(held);
}

#[tokio::test]
async fn without_load_each_tenant_stays_on_its_connection() {
    let it = Fixture::new(12, |_| {}).await;
    let mut all = HashSet::new();
    let mut pids = vec![HashSet::new(); 12];
    // The sessions in which tenants were created are reset first.
    calm(&it).await;
    for _ in 0..5 {
        for (tenant, pids) in it.tenants.iter().zip(&mut pids) {
            pids.insert(pid(tenant).await);
            let txn = tenant.begin().await.unwrap();
            pids.insert(pid(&txn).await);
            txn.rollback().await.unwrap();
        }
        // Busy for a moment, then idle.
        drop(it.hold(4).await);
        calm(&it).await;
    }
    for pids in pids {
        assert_eq!(pids.len(), 1);
        all.extend(pids);
    }
    assert!(all.len() > 1, "all are on one connection");
}

/// Waits until every connection is released.
async fn calm(it: &Fixture) {
    eventually("all connections are free", async || {
        let held = join_all((0..4).map(|_| it.one().begin())).await;
        let all = held.iter().all(Result::is_ok);
        for txn in held.into_iter().flatten() {
            txn.rollback().await.unwrap();
        }
        all
    })
    .await;
}

#[tokio::test]
async fn waiting_for_a_connection_ends_with_a_typed_error() {
    let it = Fixture::new(1, |config| config.acquire_timeout = Duration::from_millis(100)).await;
    let held = it.hold(4).await;
    let ask = Statement::from_string(DbBackend::Postgres, "SELECT 1");
    let error = it.one().execute_raw(ask).await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::PoolTimeout);
    let error = it.one().begin().await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::PoolTimeout);
    for txn in held {
        txn.commit().await.unwrap();
    }
    pid(it.one()).await;
}

#[tokio::test]
async fn requests_are_served_in_order() {
    let it = Fixture::new(5, |config| config.max_connections = 1).await;
    let held = it.hold(1).await;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for (number, tenant) in it.tenants.iter().cloned().enumerate() {
        let served = Arc::clone(&served);
        waiting.push(tokio::spawn(async move {
            pid(&tenant).await;
            served.lock().unwrap().push(number);
        }));
        // It is queued before the next one, also if it queries the registry first.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(served.lock().unwrap().is_empty());
    drop(held);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_connection_is_replaced_when_its_server_process_has_used_up_its_memory() {
    const MEBIBYTE: u64 = 1024 * 1024;
    let pids = async |budget: Option<u64>, statements| {
        let it = Fixture::new(1, |config| {
            (config.max_connections, config.connection_memory) = (1, budget);
            config.statement_cache = Some(2000);
        });
        let it = it.await;
        let mut pids = HashSet::new();
        for n in 0..statements {
            let sql = format!(r#"SELECT name FROM "@tenant"."guards" WHERE position = 'p{n}'"#);
            it.one().query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
            if n % 50 == 0 {
                pids.insert(pid(it.one()).await);
            }
        }
        assert_eq!(it.tenancy.pool_stats().replaced > 0, pids.len() > 1);
        pids.len()
    };
    // Each of the statements that are kept takes some kilobytes.
    assert!(pids(Some(3 * MEBIBYTE), 1000).await > 2);
    assert_eq!(pids(Some(64 * MEBIBYTE), 1000).await, 1);
    assert_eq!(pids(None, 1000).await, 1);
}

#[tokio::test]
async fn a_role_that_may_not_ask_for_its_memory_counts_tenants() {
    const MEBIBYTE: u64 = 1024 * 1024;
    let it = Fixture::new(30, |_| ()).await;
    let role = format!("{}_counting", it.db.name());
    let plain = it.db.plain().await;
    for sql in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA registry TO {role}"),
        format!("GRANT USAGE ON SCHEMA registry TO {role}"),
    ] {
        plain.execute_unprepared(&sql).await.unwrap();
    }
    let mut config = it.db.config();
    let user = role.clone();
    config.connect_options.map_sqlx_postgres_opts(move |options| options.username(&user));
    // Room for about twenty.
    config.max_connections = 1;
    config.connection_memory = Some(5 * MEBIBYTE);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut pids = Vec::new();
    for tenant in &it.tenants {
        pids.push(pid(&tenancy.tenant(tenant.slug()).await.unwrap()).await);
    }
    let first = pids.iter().filter(|pid| **pid == pids[0]).count();
    assert!((15..=25).contains(&first), "{first}");
    tenancy.close().await;
    plain.execute_unprepared(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_connection_has_a_maximum_lifetime() {
    let it = Fixture::new(1, |config| config.max_lifetime = Duration::ZERO).await;
    let pids = [pid(it.one()).await, pid(it.one()).await];
    assert_ne!(pids[0], pids[1]);
}

#[tokio::test]
async fn the_registry_uses_connections_of_the_pool() {
    // The name distinguishes this process from the test's own connections.
    let it = Fixture::new(4, |config| {
        config.connect_options.set_application_name("pool");
    })
    .await;
    let plain = it.db.plain().await;
    let work = (0..40).map(async |n| {
        it.tenancy.get(&slug("tenant-1")).await.unwrap();
        pid(&it.tenants[n % 4]).await;
        if n % 10 == 0 {
            let new = NewTenant::new(slug(&format!("new-{n}")));
            it.tenancy.create(new).await.unwrap();
        }
        connections(&plain, it.db.name()).await
    });
    let most = join_all(work).await.into_iter().max().unwrap();
    // Two more are for notifications and for resolving tenants.
    assert_eq!(most, 6);
    assert!(it.tenancy.ping().await.is_ok());
    it.tenancy.close().await;
    assert_eq!(DbErrorKind::of(&it.one().begin().await.unwrap_err()), DbErrorKind::PoolTimeout);
    eventually("all connections are closed", async || connections(&plain, it.db.name()).await == 0)
        .await;
}

/// Number of connections of the tenancy.
async fn connections(plain: &impl ConnectionTrait, database: &str) -> i64 {
    let ask = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1
        AND application_name = 'pool' AND backend_type = 'client backend'";
    let ask = Statement::from_sql_and_values(DbBackend::Postgres, ask, [database.into()]);
    plain.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}
