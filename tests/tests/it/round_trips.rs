//! Round trips, counted by a proxy between the handle and the server.

use std::time::Duration;

use entity::guard;
use futures_util::TryStreamExt;
use sea_orm::{
    AccessMode, ActiveModelBehavior, ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend,
    EntityTrait, IsolationLevel, QueryFilter, Statement, TransactionTrait,
};
use tenantry::{ColdStatements, Config, NewTenant, Tenancy, Tenant};

use tokio::time::sleep;

use crate::support::{TestDb, abu, http_server::eventually, slug, tcp_proxy::TcpProxy};

struct Fixture {
    tenant: Tenant,
    wire: TcpProxy,
    _tenancy: Tenancy,
    _db: TestDb,
}

/// Long enough for statements that are sent in the background.
const CALM: Duration = Duration::from_millis(100);

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A tenant whose connection is open, after its creation was notified.
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (db, wire) = (TestDb::new().await, TcpProxy::new().await);
        // No entry expires.
        let (max_connections, cache_ttl) = (1, Duration::from_secs(3600));
        let config = Config {
            connect_options: wire.url(db.name()).into(),
            max_connections,
            cache_ttl,
            ..db.config()
        };
        let mut config = config;
        change(&mut config);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
        let tenant = tenancy.tenant(&slug("tenant-1")).await.unwrap();
        read(&tenant).await;
        eventually("all is calm", async || {
            wire.count();
            sleep(CALM).await;
            wire.counted() == 0
        })
        .await;
        Self { tenant, wire, _tenancy: tenancy, _db: db }
    }

    /// Number of round trips, including those in the background.
    async fn counted(&self, work: impl AsyncFnOnce(&Tenant)) -> i64 {
        self.wire.count();
        work(&self.tenant).await;
        sleep(CALM).await;
        self.wire.counted()
    }
}

async fn read(db: &impl ConnectionTrait) {
    guard::Entity::find().all(db).await.unwrap();
}

#[tokio::test]
async fn a_statement_is_one_round_trip() {
    let it = Fixture::new().await;
    assert_eq!(it.counted(async |tenant| read(tenant).await).await, 1);

    abu().insert(&it.tenant).await.unwrap();
    let insert = async |tenant: &Tenant| drop(abu().insert(tenant).await.unwrap());
    assert_eq!(it.counted(insert).await, 1);

    let stream = async |tenant: &Tenant| {
        let rows = guard::Entity::find().stream(tenant).await.unwrap();
        assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 2);
    };
    assert_eq!(it.counted(stream).await, 1);
}

#[tokio::test]
async fn the_first_use_of_a_statement_on_a_connection_is_one_round_trip_more() {
    let it = Fixture::new().await;
    let sql = r#"SELECT count(*) FROM "@tenant"."guards""#;
    let ask = async |tenant: &Tenant| {
        let ask = Statement::from_string(DbBackend::Postgres, sql);
        tenant.query_one_raw(ask).await.unwrap();
    };
    assert_eq!(it.counted(ask).await, 2);
    assert_eq!(it.counted(ask).await, 1);
}

#[tokio::test]
async fn a_statement_that_is_not_kept_is_one_round_trip_with_literals() {
    for (cold, trips) in [(ColdStatements::Literal, 1), (ColdStatements::Prepared, 2)] {
        let it = Fixture::with(|config| {
            config.connect_options.sqlx_logging(false);
            (config.statement_cache, config.cold_statements) = (Some(0), cold);
        })
        .await;
        let insert = async |tenant: &Tenant| {
            let guard = abu().before_save(tenant, true).await.unwrap();
            guard::Entity::insert(guard).exec_without_returning(tenant).await.unwrap();
        };
        let find = async |tenant: &Tenant| {
            let find = guard::Entity::find().filter(guard::Column::Name.eq("Abu"));
            assert!(find.one(tenant).await.unwrap().is_some());
        };
        assert_eq!(it.counted(insert).await, 2, "the first of the process");
        assert_eq!(it.counted(find).await, 2, "the first of the process");
        assert_eq!(it.counted(insert).await, trips);
        assert_eq!(it.counted(find).await, trips);
    }
}

#[tokio::test]
async fn rare_statements_do_not_evict_frequent_ones() {
    let it = Fixture::with(|config| config.statement_cache = Some(20)).await;
    let ask = async |tenant: &Tenant, number: i32| {
        let ask = Statement::from_string(DbBackend::Postgres, format!("SELECT {number}"));
        tenant.query_one_raw(ask).await.unwrap();
    };
    let hot = async |tenant: &Tenant| ask(tenant, -1).await;
    // The cache is full.
    for number in 0..60 {
        ask(&it.tenant, number).await;
    }
    it.counted(hot).await;
    it.counted(hot).await;
    assert_eq!(it.counted(hot).await, 1, "what comes again is kept");
    let rare = async |tenant: &Tenant| {
        for number in 100..130 {
            ask(tenant, number).await;
        }
    };
    // If each of them had evicted another one, there would be three for each.
    let counted = it.counted(rare).await;
    assert!((60..75).contains(&counted), "{counted}");
    assert_eq!(it.counted(hot).await, 1, "it was pushed out");
}

#[tokio::test]
async fn a_database_error_takes_no_extra_round_trip() {
    let it = Fixture::new().await;
    let fail = async |tenant: &Tenant| {
        let fail = Statement::from_string(DbBackend::Postgres, "SELECT 1 / 0::int");
        tenant.query_one_raw(fail).await.unwrap_err();
    };
    it.counted(fail).await;
    assert_eq!(it.counted(fail).await, 1);
    assert_eq!(it.counted(async |tenant| read(tenant).await).await, 1);
}

#[tokio::test]
async fn a_transaction_adds_its_begin_and_its_end() {
    let it = Fixture::new().await;
    for commit in [true, false] {
        let work = async |tenant: &Tenant| {
            let txn = tenant.begin().await.unwrap();
            for _ in 0..3 {
                read(&txn).await;
            }
            if commit { txn.commit().await.unwrap() } else { txn.rollback().await.unwrap() }
        };
        assert_eq!(it.counted(work).await, 3 + 2);
    }
    let dropped = async |tenant: &Tenant| {
        let txn = tenant.begin().await.unwrap();
        read(&txn).await;
    };
    assert_eq!(it.counted(dropped).await, 1 + 2);
    let strict = async |tenant: &Tenant| {
        let (level, mode) = (IsolationLevel::Serializable, AccessMode::ReadOnly);
        let txn = tenant.begin_with_config(Some(level), Some(mode)).await.unwrap();
        read(&txn).await;
        abu().insert(&txn).await.unwrap_err();
        txn.rollback().await.unwrap();
    };
    // The insert is prepared, and fails when it is executed.
    assert_eq!(it.counted(strict).await, 1 + 2 + 2);
    let nested = async |tenant: &Tenant| {
        let txn = tenant.begin().await.unwrap();
        let savepoint = txn.begin().await.unwrap();
        read(&savepoint).await;
        savepoint.commit().await.unwrap();
        txn.commit().await.unwrap();
    };
    assert_eq!(it.counted(nested).await, 1 + 4);
}
