//! Tests of the application with the test kit: on a database of their own, or without one.

use library::{Migrator, book};
use sea_orm::{DbBackend, DbErr, EntityTrait, IntoActiveModel, MockDatabase, PaginatorTrait};
use tenantry::{
    Config, TenantScope, TenantTransaction,
    testing::{MockTenant, TestTenancy},
};

fn book(title: &str) -> book::Model {
    book::Model { isbn: "978-0-0000".to_owned(), title: title.to_owned() }
}

async fn add(tenant: &impl TenantScope, title: &str) -> Result<(), DbErr> {
    let row = book::Entity::insert(book(title).into_active_model());
    row.exec_without_returning(tenant).await.map(drop)
}

async fn first_book(tenant: &TenantTransaction) -> Result<(), DbErr> {
    add(tenant, "Handbook").await
}

#[tokio::test]
async fn a_library_has_its_own_books() {
    let test = TestTenancy::new(Migrator).await;
    let (north, south) = (test.tenant("north").await, test.tenant("south").await);
    add(&north, "Dune").await.unwrap();
    assert_eq!(book::Entity::find().all(&north).await.unwrap(), [book("Dune")]);
    assert_eq!(book::Entity::find().count(&south).await.unwrap(), 0);
}

#[tokio::test]
async fn a_new_library_has_the_first_book() {
    let seeded = |config: Config| config.seed(first_book);
    let test = TestTenancy::with_config(Migrator, seeded).await;
    for slug in ["one", "two", "three"] {
        let tenant = test.tenant(slug).await;
        assert_eq!(book::Entity::find().count(&tenant).await.unwrap(), 1, "{slug}");
    }
}

#[tokio::test]
async fn books_are_found_without_a_database() {
    let database = MockDatabase::new(DbBackend::Postgres).append_query_results([[book("Dune")]]);
    let tenant = MockTenant::new("north", database).await;
    assert_eq!(book::Entity::find().all(&*tenant).await.unwrap(), [book("Dune")]);
    let log = tenant.into_transaction_log().await;
    assert!(log[0].statements()[0].sql.contains(r#"FROM "north"."books""#), "{log:?}");
}
