//! SQL without a schema.

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, Set, TransactionTrait,
};
use tenantry::{Config, NewTenant, Tenancy};

use super::{Shared, postgres, sqlstate, text};
use crate::support::slug;

/// An entity whose author forgot the schema.
mod astray {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "guards")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub name: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Creates tables of these names in `public`, as while a single-tenant application is converted.
async fn with_public() -> Shared {
    let it = Shared::new().await;
    for sql in [
        "CREATE TABLE public.guards (id int PRIMARY KEY, name text)",
        "INSERT INTO public.guards VALUES (1, 'Everybody')",
        "CREATE TABLE public.tenants (id int)",
        "CREATE TABLE public.domains (id int)",
    ] {
        it.plain.execute_unprepared(sql).await.unwrap();
    }
    it
}

async fn assert_finds_nothing(db: &impl ConnectionTrait) {
    let row = || astray::ActiveModel { id: Set(2), name: Set("Abu".into()) };
    let results = [
        astray::Entity::find().all(db).await.map(drop),
        astray::Entity::find().count(db).await.map(drop),
        row().insert(db).await.map(drop),
        astray::Entity::insert(row()).exec(db).await.map(drop),
        astray::Entity::update_many().set(row()).exec(db).await.map(drop),
        astray::Entity::delete_many().exec(db).await.map(drop),
        db.query_all_raw(postgres("SELECT name FROM guards")).await.map(drop),
        db.execute_unprepared("TRUNCATE guards").await.map(drop),
    ];
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(sqlstate(&result.unwrap_err()), "42P01", "{number}");
    }
    // Nor is anything created there.
    db.execute_unprepared("CREATE TABLE towers (id int)").await.unwrap_err();
}

#[tokio::test]
async fn sql_without_a_schema_finds_nothing_even_if_public_has_such_a_table() {
    let it = with_public().await;
    assert_finds_nothing(&it.one).await;
    // Nor on a session that was reset or is new.
    it.one.execute_unprepared("SET search_path = public").await.unwrap();
    assert_finds_nothing(&it.one).await;
    it.one.execute_unprepared("DO 'BEGIN END'").await.unwrap();
    assert_finds_nothing(&it.two).await;

    let all = "SELECT string_agg(name, ' ') FROM public.guards";
    assert_eq!(text(&it.plain, all).await.unwrap().as_deref(), Some("Everybody"));
    let tower = "SELECT to_regclass('public.towers')::text";
    assert_eq!(text(&it.plain, tower).await.unwrap(), None);
}

#[tokio::test]
async fn in_a_transaction_nothing_is_found() {
    let it = with_public().await;
    for sql in ["SELECT name FROM guards", "INSERT INTO guards VALUES (2, 'Abu')"] {
        let txn = it.one.begin().await.unwrap();
        let error = txn.execute_raw(postgres(sql)).await.unwrap_err();
        assert_eq!(sqlstate(&error), "42P01");
    }
    // With the tenant's schema as `search_path`, the tenant's table is found.
    let txn = it.two.begin_with_search_path().await.unwrap();
    assert_eq!(text(&txn, "SELECT name FROM guards").await.unwrap().as_deref(), Some("Xia"));
    txn.commit().await.unwrap();
    let error = it.two.query_one_raw(postgres("SELECT name FROM guards")).await.unwrap_err();
    assert_eq!(sqlstate(&error), "42P01");
}

#[tokio::test]
async fn a_search_path_of_the_database_or_role_has_no_effect() {
    let it = with_public().await;
    let name = it.db.name();
    for sql in [
        format!("ALTER DATABASE {name} SET search_path = public"),
        format!("ALTER DATABASE {name} SET standard_conforming_strings = off"),
        format!("ALTER ROLE postgres IN DATABASE {name} SET search_path = tenant_1, public"),
    ] {
        it.plain.execute_unprepared(&sql).await.unwrap();
    }
    // In the URL too, which a pooler may drop.
    let url = format!("{}&options=-csearch_path%3Dpublic", it.db.url());
    for url in [it.db.url(), url] {
        let config = Config { connect_options: url.into(), max_connections: 1, ..it.db.config() };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let two = tenancy.tenant(&slug("tenant-2")).await.unwrap();
        assert_finds_nothing(&two).await;
        two.execute_unprepared("SET search_path = public").await.unwrap();
        assert_eq!(text(&two, "SHOW search_path").await.unwrap().as_deref(), Some("pg_catalog"));
        let strings = text(&two, "SHOW standard_conforming_strings").await.unwrap();
        assert_eq!(strings.as_deref(), Some("on"));
        // A tenant is created and dropped as usual.
        let slug = slug("tenant-3");
        tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
        tenancy.drop(&slug).await.unwrap();
    }
}

#[tokio::test]
async fn the_registry_is_found_despite_tables_of_its_names_in_public() {
    let it = with_public().await;
    let three = slug("tenant-3");
    it.tenancy.create(NewTenant::new(three.clone())).await.unwrap();
    assert!(it.tenancy.get(&three).await.unwrap().is_some());
    let tenant = it.tenancy.tenant(&three).await.unwrap();
    assert_finds_nothing(&tenant).await;
    it.tenancy.drop(&three).await.unwrap();
    assert!(it.tenancy.get(&three).await.unwrap().is_none());
}
