//! The connection to shared tables, and shared tables on tenants' handles.

use std::time::Duration;

use futures_util::TryStreamExt;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, Set, Statement, StreamTrait, TransactionTrait,
};
use tenantry::{DbErrorKind, Misuse, NewTenant, OtherSchema, Tenancy, Tenant};
use uuid::Uuid;

use super::{
    entities::{order, plan, shared_order},
    *,
};
use crate::support::slug;

const SHARED_ORDERS: Sql = Sql {
    name: "s2_orders",
    up: "CREATE TABLE orders (id uuid CONSTRAINT orders_pkey PRIMARY KEY, plan_id uuid)",
    down: "DROP TABLE orders",
    alone: false,
    breaking: false,
};

/// A tenancy with shared plans and orders, and these tenants.
pub async fn with_tenants<const N: usize>(
    slugs: [&str; N],
    change: impl FnOnce(&mut Config),
) -> (TestDb, DatabaseConnection, Tenancy, [Tenant; N]) {
    let db = TestDb::new().await;
    let (plain, mut config) = (db.plain().await, config(&db, [PLANS, SHARED_ORDERS]));
    migrate(&plain, &config).await.unwrap();
    change(&mut config);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut tenants = Vec::new();
    for name in slugs {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
    }
    (db, plain, tenancy, tenants.try_into().unwrap())
}

pub async fn insert_plan(db: &impl ConnectionTrait, name: &str) -> plan::Model {
    let plan = plan::ActiveModel { id: Set(Uuid::now_v7()), name: Set(name.to_owned()) };
    plan.insert(db).await.unwrap()
}

pub async fn insert_order(db: &impl ConnectionTrait, plan: Uuid) -> Result<order::Model, DbErr> {
    let order = order::ActiveModel { id: Set(Uuid::now_v7()), plan_id: Set(Some(plan)) };
    order.insert(db).await
}

#[tokio::test]
async fn shared_entities_work_on_their_connection_and_on_tenants_handles() {
    let (_db, _plain, tenancy, [acme, beta]) = with_tenants(["acme", "beta"], |_| {}).await;
    let shared = tenancy.shared();
    let free = insert_plan(&shared, "free").await;
    let txn = shared.begin().await.unwrap();
    let paid = insert_plan(&txn, "paid").await;
    txn.commit().await.unwrap();
    drop(insert_plan(&shared.begin().await.unwrap(), "rolled back").await);
    let rows: Vec<_> = shared
        .stream_raw(Statement::from_string(DbBackend::Postgres, "SELECT id FROM shared.plans"))
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);

    // On a tenant's handle, in its transaction, joined with its tables, with the foreign key.
    assert_eq!(plan::Entity::find_by_id(free.id).one(&acme).await.unwrap(), Some(free.clone()));
    let order = insert_order(&acme, free.id).await.unwrap();
    let txn = acme.begin().await.unwrap();
    let gold = insert_plan(&txn, "gold").await;
    insert_order(&txn, gold.id).await.unwrap();
    txn.rollback().await.unwrap();
    let joined = order::Entity::find().find_also_related(plan::Entity).all(&acme).await.unwrap();
    assert_eq!(joined, [(order, Some(free.clone()))]);
    let with = plan::Entity::find()
        .find_with_related(order::Entity)
        .filter(plan::Column::Name.eq("paid"))
        .all(&beta)
        .await
        .unwrap();
    assert_eq!(with, [(paid, vec![])]);
    let error = insert_order(&beta, Uuid::now_v7()).await.unwrap_err();
    assert!(matches!(DbErrorKind::of(&error), DbErrorKind::ForeignKey(_)), "{error}");
}

#[tokio::test]
async fn a_shared_and_a_tenants_table_may_have_one_name() {
    let (_db, _plain, tenancy, [acme]) = with_tenants(["acme"], |_| {}).await;
    let free = insert_plan(&tenancy.shared(), "free").await;
    insert_order(&acme, free.id).await.unwrap();
    let once = shared_order::ActiveModel { id: Set(Uuid::now_v7()), plan_id: Set(None) };
    let once = once.insert(&acme).await.unwrap();
    assert_eq!(order::Entity::find().count(&acme).await.unwrap(), 1);
    for found in [
        shared_order::Entity::find().all(&acme).await.unwrap(),
        shared_order::Entity::find().all(&tenancy.shared()).await.unwrap(),
    ] {
        assert_eq!(found, std::slice::from_ref(&once));
    }
}

#[tokio::test]
async fn statements_about_tenants_are_refused_on_the_connection_to_shared_tables() {
    let (db, _plain, tenancy, [_acme]) = with_tenants(["acme"], |_| {}).await;
    let shared = tenancy.shared();
    let txn = shared.begin().await.unwrap();
    let select = "SELECT * FROM \"@tenant\".orders";
    let raw = |sql: &str| Statement::from_string(DbBackend::Postgres, sql);
    for refused in [
        order::Entity::find().all(&shared).await.map(drop),
        insert_order(&shared, Uuid::now_v7()).await.map(drop),
        shared.query_all_raw(raw(select)).await.map(drop),
        shared.execute_unprepared(select).await.map(drop),
        shared.stream_raw(raw(select)).await.map(drop),
        order::Entity::find().one(&txn).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        let misuse = Misuse::find(&error);
        assert_eq!(misuse, Some(&Misuse::PlaceholderWithoutTenant), "{error}");
        assert!(error.to_string().contains("for_tenant"), "{error}");
    }
    for sql in ["SELECT * FROM acme.orders", "DELETE FROM \"acme\" . orders"] {
        let error = shared.execute_raw(raw(sql)).await.unwrap_err();
        let OtherSchema { slug, schema, .. } = OtherSchema::find(&error).unwrap();
        assert_eq!((slug, schema.as_str()), (&None, "acme"));
    }
    let error = shared.execute_unprepared("BEGIN").await.unwrap_err();
    assert!(matches!(Misuse::find(&error), Some(Misuse::TransactionControl { .. })), "{error}");
    let about = |sql: &String| sql.contains("@tenant") || sql.contains("acme.orders");
    assert_eq!(db.statements().into_iter().find(about), None);
    // A table may have the name of a tenant's schema.
    shared.query_all_raw(raw("SELECT acme.id FROM shared.plans acme")).await.unwrap();
}

#[tokio::test]
async fn sessions_are_clean_after_statements_on_shared_tables() {
    let one = |config: &mut Config| config.max_connections = 1;
    let (_db, _plain, tenancy, [acme]) = with_tenants(["acme"], one).await;
    let shared = tenancy.shared();
    let path = async |db: &Tenant| {
        let show = Statement::from_string(DbBackend::Postgres, "SHOW search_path");
        let row = db.query_one_raw(show).await.unwrap().unwrap();
        row.try_get_by_index::<String>(0).unwrap()
    };
    let before = path(&acme).await;
    shared.execute_unprepared("SET search_path = shared").await.unwrap();
    assert_eq!(path(&acme).await, before);
    let error = shared.execute_unprepared("SELECT * FROM plans").await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::UndefinedTable);
}

#[tokio::test]
async fn shared_tables_are_one_owner_of_connections() {
    let small = |config: &mut Config| {
        (config.max_connections, config.acquire_timeout) = (4, Duration::from_millis(300));
    };
    let (_db, _plain, tenancy, [acme]) = with_tenants(["acme"], small).await;
    let shared = tenancy.shared();
    let held = (shared.begin().await.unwrap(), shared.begin().await.unwrap());
    let error = shared.begin().await.unwrap_err();
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::PoolTimeout, "{error}");
    order::Entity::find().all(&acme).await.unwrap();
    held.0.rollback().await.unwrap();
    shared.begin().await.unwrap();
}

#[tokio::test]
async fn statements_on_shared_tables_are_prepared_again_after_a_migration() {
    let (_db, plain, tenancy, []) = with_tenants([], |config| config.max_connections = 1).await;
    let shared = tenancy.shared();
    insert_plan(&shared, "free").await;
    for sql in ["ALTER TABLE shared.plans ALTER name TYPE varchar(40)", "SELECT 1"] {
        for _ in 0..3 {
            assert_eq!(plan::Entity::find().all(&shared).await.unwrap().len(), 1);
        }
        plain.execute_unprepared(sql).await.unwrap();
    }
}

#[tokio::test]
async fn the_connection_works_without_a_migrator_of_shared_tables() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    db.plain().await.execute_unprepared("CREATE SCHEMA legacy").await.unwrap();
    let make = "CREATE TABLE legacy.plans AS SELECT 1 AS id";
    db.plain().await.execute_unprepared(make).await.unwrap();
    let select = Statement::from_string(DbBackend::Postgres, "SELECT id FROM legacy.plans");
    assert_eq!(tenancy.shared().query_all_raw(select).await.unwrap().len(), 1);
}
