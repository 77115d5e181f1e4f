//! Creations and drops with and without the owner's URL.

use std::time::Duration;

use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait};
use tenantry::{AdoptOptions, Config, Error, Limits, NewTenant, OwnerError, Tenancy};

use super::{Site, assert_clean, connect, create, is_refused};
use crate::support::{
    TestDb, abu,
    catalog::{schemas, texts},
    http_server::eventually,
    slug,
};

#[tokio::test]
async fn with_the_owners_url_tenants_are_created_used_and_dropped() {
    let site = Site::set_up().await;
    let tenancy = site.with_owner().await;
    create(&tenancy, "tenant-1").await.unwrap();
    let tenant = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    abu().insert(&tenant).await.unwrap();
    assert_eq!(entity::guard::Entity::find().count(&tenant).await.unwrap(), 1);
    let sql = "SELECT DISTINCT usename::text FROM pg_stat_activity
        WHERE datname = current_database() AND usename <> 'postgres' ORDER BY 1";
    let plain = site.db.plain().await;
    assert_eq!(texts(&plain, sql).await, [site.roles[1].0.as_str(), &site.roles[0].0]);
    let owners = "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class
        WHERE relnamespace = 'tenant_1'::regnamespace";
    assert_eq!(texts(&plain, owners).await, [site.roles[0].0.as_str()]);
    assert_clean(&plain).await;
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    tenancy.close().await;
    eventually("the owner's connections are closed", async || texts(&plain, sql).await.is_empty())
        .await;
}

#[tokio::test]
async fn without_it_creations_and_drops_are_refused_and_change_nothing() {
    let site = Site::set_up().await;
    create(&site.with_owner().await, "tenant-1").await.unwrap();
    let tenancy = site.without_owner().await;
    let plain = site.db.plain().await;
    let before = texts(&plain, "SELECT to_jsonb(t)::text FROM registry.tenants t").await;

    let refusal = create(&tenancy, "tenant-2").await;
    assert!(is_refused(&refusal), "{refusal:?}");
    let text = refusal.unwrap_err().to_string();
    assert!(text.contains(&site.roles[1].0) && text.contains("nothing was changed"), "{text}");
    assert!(is_refused(&tenancy.drop(&slug("tenant-1")).await));
    assert!(is_refused(&tenancy.drop_cascade(&slug("tenant-1")).await));
    let options = AdoptOptions::objects_of("public");
    let adopted = tenancy.adopt(NewTenant::new(slug("tenant-3")), &options).await.map(drop);
    assert!(is_refused(&adopted), "{adopted:?}");

    assert_eq!(texts(&plain, "SELECT to_jsonb(t)::text FROM registry.tenants t").await, before);
    assert_eq!(schemas(&plain).await, ["public", "registry", "tenant_1"]);
    let tenant = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    abu().insert(&tenant).await.unwrap();

    // The registry's rows are changed by the role of the application.
    tenancy
        .limit(&slug("tenant-1"), Limits { max_waiting: Some(5), ..Limits::default() })
        .await
        .unwrap();
    let host = "guards.example.org".parse().unwrap();
    tenancy.domain_add(&slug("tenant-1"), &host).await.unwrap();
    tenancy.domain_remove(&slug("tenant-1"), &host).await.unwrap();
}

#[tokio::test]
async fn a_right_that_is_granted_later_is_used_without_a_restart() {
    let site = Site::set_up().await;
    let tenancy = site.without_owner().await;
    assert!(is_refused(&create(&tenancy, "tenant-1").await));
    let plain = site.db.plain().await;
    let sql = format!("GRANT CREATE ON DATABASE {} TO {}", site.db.name(), site.roles[1].0);
    plain.execute_unprepared(&sql).await.unwrap();
    create(&tenancy, "tenant-1").await.unwrap();
}

#[tokio::test]
async fn spares_are_made_by_the_owner_and_taken_by_its_creations() {
    let site = Site::set_up().await;
    let plain = site.db.plain().await;
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    let without = Tenancy::connect(&Config { spares: 1, ..site.config() }).await.unwrap();
    let config = Config { spares: 1, ..site.config() }.owner_url(site.owner_url());
    let tenancy = Tenancy::connect(&config).await.unwrap();
    eventually("there is a spare", async || texts(&plain, spares).await.len() == 1).await;
    let spare = texts(&plain, spares).await;
    assert!(is_refused(&create(&without, "tenant-1").await));
    assert_eq!(texts(&plain, spares).await, spare);
    create(&tenancy, "tenant-1").await.unwrap();
    let tenant = without.tenant(&slug("tenant-1")).await.unwrap();
    abu().insert(&tenant).await.unwrap();
    eventually("there is another", async || {
        let now = texts(&plain, spares).await;
        now.len() == 1 && now != spare
    })
    .await;
    assert_clean(&plain).await;
}

#[tokio::test]
async fn an_adopted_schema_can_be_used_by_the_application_role() {
    let site = Site::set_up().await;
    let owner = connect(&site.owner_url()).await;
    owner.execute_unprepared("CREATE SCHEMA \"Old \"\"1\"").await.unwrap();
    let schema: tenantry::SchemaName = "Old \"1".parse().unwrap();
    let target = tenantry_migrate::Target::Schema(schema.clone());
    let up = tenantry_migrate::Action::Up(None);
    tenantry_migrate::run(&owner, &target, &super::migrator(), &up, Default::default())
        .await
        .unwrap();
    let revoke = format!(
        "REVOKE ALL ON ALL TABLES IN SCHEMA {0} FROM {1}; REVOKE ALL ON SCHEMA {0} FROM {1}",
        schema.quoted(),
        site.roles[1].0
    );
    owner.execute_unprepared(&revoke).await.unwrap();
    let tenancy = site.with_owner().await;
    let new = NewTenant::new(slug("old-1"));
    tenancy.adopt(new, &AdoptOptions::schema(schema)).await.unwrap();
    let tenant = tenancy.tenant(&slug("old-1")).await.unwrap();
    abu().insert(&tenant).await.unwrap();
    assert_clean(&owner).await;
}

#[tokio::test]
async fn an_owners_url_of_another_database_or_without_a_role_is_refused() {
    let (site, other) = (Site::set_up().await, TestDb::new().await);
    let plain = other.plain().await;
    let before = schemas(&plain).await;
    let tenancy = Tenancy::connect(&site.config().owner_url(other.url())).await.unwrap();
    let refusal = create(&tenancy, "tenant-1").await;
    assert!(matches!(refusal, Err(Error::Owner(OwnerError::OtherDatabase))), "{refusal:?}");
    assert_eq!(schemas(&plain).await, before);
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);

    let config = Config { acquire_timeout: Duration::from_secs(2), ..site.config() };
    let tenancy =
        Tenancy::connect(&config.owner_url(site.url("nobody_of_this_name"))).await.unwrap();
    let refusal = create(&tenancy, "tenant-1").await;
    let Err(Error::Owner(OwnerError::Unreachable(cause))) = &refusal else {
        panic!("{refusal:?}");
    };
    assert!(cause.contains("nobody_of_this_name") && cause.contains("the owner's URL"), "{cause}");
    assert!(Tenancy::connect(&site.config().owner_url("mysql://me@h/d")).await.is_err());
}

#[tokio::test]
async fn many_creations_at_once_take_few_connections_of_the_owner() {
    let site = Site::set_up().await;
    let tenancy = site.with_owner().await;
    let names: Vec<String> = (0..12).map(|number| format!("tenant-{number}")).collect();
    let creations = names.iter().map(|name| create(&tenancy, name));
    for created in futures_util::future::join_all(creations).await {
        created.unwrap();
    }
    let sql = format!(
        "SELECT count(*)::text FROM pg_stat_activity WHERE usename = '{}'",
        site.roles[0].0
    );
    let count: u32 = texts(&site.db.plain().await, &sql).await[0].parse().unwrap();
    assert!((1..=4).contains(&count), "{count}");
    for name in &names {
        tenancy.drop(&slug(name)).await.unwrap();
    }
}
