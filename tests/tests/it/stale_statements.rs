//! Statements that were prepared before a migration changed the type of their result.

use std::sync::Arc;

use entity::guard;
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait,
    IntoActiveModel, PaginatorTrait, Set, Statement, TransactionTrait,
};
use tenantry::{DbErrorKind, NewTenant, Tenancy, Tenant};
use tokio::sync::Barrier;

use crate::support::{TestDb, abu, database::server, slug, statement_log::Mark};

const RETYPE: &str = "ALTER TABLE tenant_1.guards ALTER COLUMN position TYPE varchar(200)";
const RETYPE_AGAIN: &str = "ALTER TABLE tenant_1.guards ALTER COLUMN position TYPE varchar(201)";

/// Two tenants on a pool, and a log of the statements that are sent to them.
struct Fixture {
    one: Tenant,
    two: Tenant,
    plain: DatabaseConnection,
    log: Mark,
    tenancy: Tenancy,
    db: TestDb,
}

impl Fixture {
    async fn new(connections: u32) -> Self {
        let db = TestDb::new().await;
        let mut config = db.config();
        config.max_connections = connections;
        // One tenant may use all connections.
        (config.tenant_share, config.reserved_connections) = (100, 0);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let mut tenants = Vec::new();
        for name in ["tenant-1", "tenant-2"] {
            tenancy.create(NewTenant::new(slug(name))).await.unwrap();
            tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
        }
        let [one, two] = tenants.try_into().unwrap();
        let plain = db.plain().await;
        Self { one, two, plain, log: Mark::now(server()), tenancy, db }
    }

    /// Executes a change like a migration, on another connection.
    async fn migrate(&self, sql: &str) {
        self.plain.execute_unprepared(sql).await.unwrap();
    }

    /// Number of epochs behind the statements that were sent to tenants; none for a tenant whose
    /// statements were not stale.
    fn epochs(&self) -> usize {
        let statements = self.log.statements(self.db.name()).into_iter();
        let mut marks: Vec<_> = statements
            .filter_map(|(_, sql)| {
                Some(sql.trim_end().strip_suffix("*/")?.rsplit_once("/*")?.1.to_owned())
            })
            .collect();
        marks.sort_unstable();
        marks.dedup();
        marks.len()
    }
}

fn raw() -> Statement {
    // A comment at the end must not include the epoch that is appended.
    let sql = r#"SELECT "name", "position" FROM "@tenant"."guards" WHERE "name" = $1 -- by name"#;
    Statement::from_sql_and_values(DbBackend::Postgres, sql, ["Abu".into()])
}

fn bare() -> Statement {
    Statement::from_string(DbBackend::Postgres, "SELECT * FROM guards")
}

fn stale(error: &DbErr) -> bool {
    DbErrorKind::of(error) == DbErrorKind::StaleStatement
}

#[tokio::test]
async fn every_kind_of_statement_succeeds_after_a_type_change() {
    let it = Fixture::new(1).await;
    let work = async || {
        let inserted = abu().insert(&it.one).await?;
        let mut changed = inserted.clone().into_active_model();
        changed.position = Set("Tower".into());
        changed.update(&it.one).await?;
        guard::Entity::find_by_id(inserted.id).one(&it.one).await?;
        guard::Entity::find().all(&it.one).await?;
        it.one.query_one_raw(raw()).await?.ok_or(DbErr::RecordNotFound("Abu".into()))?;
        it.one.query_all_raw(raw()).await?;
        // The caller generates ids for `insert_many`.
        let more = (0..2).map(|_| guard::ActiveModel { id: Set(uuid::Uuid::now_v7()), ..abu() });
        guard::Entity::insert_many(more).exec_with_returning(&it.one).await?;
        it.one.execute_raw(raw()).await?;
        Ok::<_, DbErr>(())
    };
    work().await.unwrap();
    it.migrate(RETYPE).await;
    work().await.unwrap();
    it.migrate(RETYPE_AGAIN).await;
    work().await.unwrap();
    // A statement that was sent twice was executed once.
    assert_eq!(guard::Entity::find().count(&it.one).await.unwrap(), 9);
    assert_eq!(it.epochs(), 2);
}

#[tokio::test]
async fn each_kind_of_statement_is_the_first_to_meet_the_type_change() {
    // Each by itself, since the first one advances the epoch for all.
    for kind in 0..6 {
        let it = Fixture::new(1).await;
        let stored = abu().insert(&it.one).await.unwrap();
        let send = async || match kind {
            0 => guard::Entity::find_by_id(stored.id).one(&it.one).await.map(drop),
            1 => guard::Entity::find().all(&it.one).await.map(drop),
            2 => abu().insert(&it.one).await.map(drop),
            3 => it.one.query_one_raw(raw()).await.map(drop),
            4 => it.one.query_all_raw(raw()).await.map(drop),
            _ => it.one.execute_raw(raw()).await.map(drop),
        };
        send().await.unwrap();
        it.migrate(RETYPE).await;
        send().await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(it.epochs(), 1, "{kind}");
    }
}

#[tokio::test]
async fn an_additive_migration_leaves_prepared_statements_as_they_are() {
    let it = Fixture::new(1).await;
    for column in ["note", "badge"] {
        abu().insert(&it.one).await.unwrap();
        assert!(!guard::Entity::find().all(&it.one).await.unwrap().is_empty());
        let txn = it.one.begin().await.unwrap();
        guard::Entity::find().all(&txn).await.unwrap();
        txn.commit().await.unwrap();
        it.migrate(&format!("ALTER TABLE tenant_1.guards ADD COLUMN {column} text")).await;
    }
    guard::Entity::find().all(&it.one).await.unwrap();
    assert_eq!(it.epochs(), 0);
}

#[tokio::test]
async fn statements_that_fail_together_advance_the_epoch_of_their_tenant_once() {
    const TASKS: usize = 8;
    let it = Fixture::new(TASKS as u32).await;
    // Every connection has prepared the statements of both tenants.
    let all = Arc::new(Barrier::new(TASKS));
    join_all((0..TASKS).map(async |_| {
        let txn = it.one.begin().await.unwrap();
        guard::Entity::find().all(&txn).await.unwrap();
        all.wait().await;
        txn.commit().await.unwrap();
    }))
    .await;
    guard::Entity::find().all(&it.two).await.unwrap();
    it.migrate(RETYPE).await;
    for _ in 0..3 {
        let tasks = (0..TASKS).map(|_| {
            let one = it.one.clone();
            tokio::spawn(async move { guard::Entity::find().all(&one).await })
        });
        for result in join_all(tasks).await {
            result.unwrap().unwrap();
        }
    }
    guard::Entity::find().all(&it.two).await.unwrap();
    assert_eq!(it.epochs(), 1);
    let statements = it.log.statements(it.db.name()).into_iter();
    let of_two = statements.filter(|(_, sql)| sql.contains(r#""tenant_2""#));
    assert!(of_two.into_iter().all(|(_, sql)| !sql.contains("/*")));
}

#[tokio::test]
async fn statements_prepared_for_a_dropped_tenant_do_not_affect_the_next_of_its_slug() {
    let it = Fixture::new(1).await;
    let look = async |tenant: &Tenant| guard::Entity::find().all(tenant).await.unwrap();
    look(&it.one).await;
    it.migrate(RETYPE).await;
    look(&it.one).await;
    it.tenancy.drop(it.one.slug()).await.unwrap();
    it.tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let again = it.tenancy.tenant(&slug("tenant-1")).await.unwrap();
    look(&again).await;
    it.migrate(&RETYPE_AGAIN.replace("tenant_1", again.schema().as_str())).await;
    look(&again).await;
}

#[tokio::test]
async fn a_transaction_fails_as_stale_and_a_retry_succeeds() {
    let it = Fixture::new(1).await;
    let work = async || {
        let txn = it.one.begin().await?;
        abu().insert(&txn).await?;
        guard::Entity::find().all(&txn).await?;
        txn.commit().await
    };
    work().await.unwrap();
    it.migrate(RETYPE).await;
    let error = work().await.unwrap_err();
    assert!(stale(&error), "{error}");
    work().await.unwrap();
    assert_eq!(guard::Entity::find().count(&it.one).await.unwrap(), 2);
}

#[tokio::test]
async fn bare_sql_in_a_partly_migrated_fleet_recovers_for_each_tenant() {
    let it = Fixture::new(1).await;
    let work = async |tenant: &Tenant| {
        let txn = tenant.begin_with_search_path().await?;
        let rows = txn.query_all_raw(bare()).await?;
        txn.commit().await?;
        Ok::<_, DbErr>(rows.len())
    };
    abu().insert(&it.one).await.unwrap();
    assert_eq!((work(&it.one).await, work(&it.two).await), (Ok(1), Ok(0)));
    it.migrate(RETYPE).await;
    // The same SQL on one connection with two types: each fails once on the statement of the other.
    for (tenant, rows) in [(&it.one, 1), (&it.two, 0)] {
        if let Err(error) = work(tenant).await {
            assert!(stale(&error), "{error}");
            assert_eq!(work(tenant).await, Ok(rows));
        }
    }
    for _ in 0..3 {
        assert_eq!((work(&it.one).await, work(&it.two).await), (Ok(1), Ok(0)));
    }
}

#[tokio::test]
async fn a_stream_fails_as_stale_and_a_retry_succeeds() {
    let it = Fixture::new(1).await;
    abu().insert(&it.one).await.unwrap();
    let names = async || {
        let stream = guard::Entity::find().stream(&it.one).await?;
        stream.map_ok(|guard| guard.name).try_collect::<Vec<_>>().await
    };
    assert_eq!(names().await, Ok(vec!["Abu".to_owned()]));
    it.migrate(RETYPE).await;
    {
        let mut stream = guard::Entity::find().stream(&it.one).await.unwrap();
        let error = stream.next().await.unwrap().unwrap_err();
        assert!(stale(&error), "{error}");
    }
    assert_eq!(names().await, Ok(vec!["Abu".to_owned()]));

    // In a transaction as well.
    it.migrate(RETYPE_AGAIN).await;
    for works in [false, true] {
        let txn = it.one.begin().await.unwrap();
        let found = {
            let stream = guard::Entity::find().stream(&txn).await.unwrap();
            stream.try_collect::<Vec<_>>().await
        };
        assert_eq!(found.is_ok(), works, "{found:?}");
    }
}

#[tokio::test]
async fn an_unsupported_feature_is_not_reported_as_a_stale_statement() {
    let it = Fixture::new(1).await;
    let locked = r#"SELECT count(*) FROM "@tenant"."guards" FOR UPDATE"#;
    let locked = Statement::from_string(DbBackend::Postgres, locked);
    let error = it.one.query_all_raw(locked.clone()).await.unwrap_err();
    assert_eq!(DbErrorKind::sqlstate(&error).as_deref(), Some("0A000"));
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::Other);
    guard::Entity::find().all(&it.one).await.unwrap();
    assert_eq!(it.epochs(), 0);
    let sent = it.log.statements(it.db.name());
    assert!(sent.iter().any(|(_, sql)| sql.contains(r#""tenant_1"."guards""#)));
}
