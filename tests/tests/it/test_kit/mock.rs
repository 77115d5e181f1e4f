//! A tenant over SeaORM's mock.

use futures_util::TryStreamExt;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, MockDatabase, MockExecResult, RuntimeErr,
    StreamTrait, TransactionError, TransactionTrait,
};
use tenantry::{Misuse, TenantScope, testing::MockTenant};

use crate::support::abu;

fn guard(name: &str) -> entity::guard::Model {
    entity::guard::Model {
        id: uuid::Uuid::now_v7(),
        name: name.to_owned(),
        position: "Gate".to_owned(),
        inserted_at: tenantry_registry::now(),
        updated_at: tenantry_registry::now(),
    }
}

fn mock() -> MockDatabase {
    MockDatabase::new(DbBackend::Postgres)
}

/// The statements of each transaction in the log.
async fn log(tenant: MockTenant) -> Vec<Vec<String>> {
    let log = tenant.into_transaction_log().await;
    let texts = |it: &sea_orm::Transaction| it.statements().iter().map(|s| s.sql.clone()).collect();
    log.iter().map(texts).collect()
}

async fn count(tenant: &impl TenantScope) -> Result<usize, DbErr> {
    Ok(entity::guard::Entity::find().all(tenant).await?.len())
}

#[tokio::test]
async fn a_statement_is_logged_with_the_schema_of_the_tenant() {
    let tenant =
        MockTenant::new("north-shore", mock().append_query_results([[guard("Abu")]])).await;
    assert_eq!(count(&*tenant).await.unwrap(), 1);
    let log = log(tenant).await;
    assert_eq!(log.len(), 1);
    assert!(log[0][0].ends_with(r#"FROM "north_shore"."guards""#), "{log:?}");
}

#[tokio::test]
async fn transactions_and_savepoints_are_in_the_log_as_they_ended() {
    let result = MockExecResult { rows_affected: 1, ..Default::default() };
    let tenant = MockTenant::new("acme", mock().append_exec_results(vec![result; 3])).await;
    let txn = tenant.begin().await.unwrap();
    txn.set_statement_timeout(None).await.unwrap();
    txn.execute_unprepared("INSERT 1").await.unwrap();
    let inner = txn.begin().await.unwrap();
    inner.execute_unprepared("INSERT 2").await.unwrap();
    drop(inner);
    txn.execute_unprepared("INSERT 3").await.unwrap();
    txn.commit().await.unwrap();
    drop(tenant.begin().await.unwrap());
    let expected = vec![
        vec![
            "BEGIN",
            "INSERT 1",
            "SAVEPOINT savepoint_1",
            "INSERT 2",
            "ROLLBACK TO SAVEPOINT savepoint_1",
            "INSERT 3",
            "COMMIT",
        ],
        vec!["BEGIN", "ROLLBACK"],
    ];
    assert_eq!(log(tenant).await, expected);
}

#[tokio::test]
async fn a_closure_that_fails_rolls_back() {
    let tenant = MockTenant::new("acme", mock()).await;
    let failed = tenant
        .transaction_async(async |txn| {
            assert_eq!(txn.get_database_backend(), DbBackend::Postgres);
            Err::<(), _>(DbErr::Custom("no".to_owned()))
        })
        .await;
    assert!(matches!(failed, Err(TransactionError::Transaction(DbErr::Custom(_)))));
    assert_eq!(log(tenant).await, [["BEGIN", "ROLLBACK"]]);
}

#[tokio::test]
async fn errors_and_streams_are_those_of_the_mock() {
    let lost = DbErr::Query(RuntimeErr::Internal("lost".to_owned()));
    let database = mock().append_query_results([[guard("Abu"), guard("Bo")]]);
    let tenant = MockTenant::new("acme", database.append_query_errors([lost.clone()])).await;
    let select = entity::guard::Entity::find();
    let rows: Vec<_> = select.stream(&*tenant).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(count(&*tenant).await, Err(lost));
    assert_eq!(StreamTrait::get_database_backend(&*tenant), DbBackend::Postgres);
}

#[tokio::test]
async fn statements_are_checked_as_on_a_server() {
    let tenant = MockTenant::new("acme", mock()).await;
    let error = tenant.execute_unprepared("COMMIT").await.unwrap_err();
    assert!(Misuse::find(&error).is_some(), "{error}");
    let inserted = entity::guard::Entity::insert(abu()).exec(&*tenant).await;
    assert!(inserted.unwrap_err().to_string().contains("buffer is empty"));
    assert_eq!(log(tenant).await.len(), 1);
}
