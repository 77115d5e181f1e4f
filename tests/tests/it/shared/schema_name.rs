//! The name of the shared schema, which no tenant gets.

use tenantry::{AdoptOptions, Config, Error, NewTenant, Tenancy};
use tenantry_migrate::{DynMigrator, Extension, ExtensionError, SharedMigrator, TenantMigrator};

use super::*;
use crate::support::{
    catalog::{tables, texts},
    slug,
    sql_migration::{BOOKS, SqlMigrator},
};

async fn schema_of(tenancy: &Tenancy, name: &str) -> String {
    tenancy.validate_new(&NewTenant::new(slug(name))).await.unwrap();
    tenancy.create(NewTenant::new(slug(name))).await.unwrap().schema.to_string()
}

#[tokio::test]
async fn a_tenant_called_shared_gets_another_schema() {
    let (_db, plain, config) = with_plans().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    assert_eq!(schema_of(&tenancy, "shared").await, "shared_2");
    tenancy.drop(&slug("shared")).await.unwrap();
    assert_eq!(schema_of(&tenancy, "shared").await, "shared_3");
    // With a prefix, too, and from a spare.
    let prefixed = Config { schema_prefix: "sha".to_owned(), spares: 1, ..config };
    let tenancy = Tenancy::connect(&prefixed).await.unwrap();
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    while texts(&plain, spares).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(schema_of(&tenancy, "red").await, "shared_4");
    assert!(tables(&plain).await.contains(&"shared.plans".to_owned()));
    tenancy.close().await;
}

#[tokio::test]
async fn the_shared_schema_is_not_adopted() {
    let (_db, plain, config) = with_plans().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let shared = AdoptOptions::schema("shared".parse().unwrap());
    for options in [shared, AdoptOptions::objects_of("shared")] {
        let error = tenancy.adopt(NewTenant::new(slug("acme")), &options).await.unwrap_err();
        let message = "schema \"shared\" belongs to the tables that exist once";
        assert!(error.to_string().contains(message), "{error}");
    }
    assert!(tables(&plain).await.contains(&"shared.plans".to_owned()));
}

#[tokio::test]
async fn a_tenant_does_not_get_the_schema_when_it_does_not_exist_yet() {
    let (_db, plain, config) = with_plans().await;
    let other = config.shared_migrator(
        SharedMigrator::new(sql_migrator([])).in_schema("catalog".parse().unwrap()),
    );
    texts(&plain, "DROP SCHEMA IF EXISTS catalog").await;
    let tenancy = Tenancy::connect(&other).await.unwrap();
    assert_eq!(schema_of(&tenancy, "catalog").await, "catalog_2");
}

#[tokio::test]
async fn the_schema_of_a_tenant_is_refused_for_shared_tables() {
    let (db, plain, _) = with_plans().await;
    // A program without shared tables creates the tenant `catalog`.
    let before = Tenancy::connect(&Config::new(db.url(), sql_migrator([ORDERS]))).await.unwrap();
    assert_eq!(schema_of(&before, "catalog").await, "catalog");
    let shared = SharedMigrator::new(sql_migrator([PLANS])).in_schema("catalog".parse().unwrap());
    let next = Config::new(db.url(), sql_migrator([ORDERS])).shared_migrator(shared);
    let tables_before = tables(&plain).await;
    for dropped in [false, true] {
        let error = migrate(&plain, &next).await.unwrap_err();
        let taken = tenantry_migrate::Error::SharedSchemaTaken { schema: "catalog".into() };
        assert_eq!(error.to_string(), taken.to_string());
        if !dropped {
            assert_eq!(tables(&plain).await, tables_before);
            assert!(matches!(
                Tenancy::connect(&next).await,
                Err(Error::Migration(_) | Error::SharedBehind { .. })
            ));
            before.drop(&slug("catalog")).await.unwrap();
        }
    }
    assert!(!tables(&plain).await.iter().any(|table| table.starts_with("catalog.")));
}

#[derive(Clone)]
struct WithExtension;

impl sea_orm_migration::MigratorTraitSelf for WithExtension {
    fn migrations(&self) -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
        SqlMigrator { migrations: vec![BOOKS], table: "seaql_migrations" }.migrations()
    }
}

impl TenantMigrator for WithExtension {
    fn extensions(&self) -> Vec<Extension> {
        vec![Extension::new("citext").in_schema("shared")]
    }

    fn shared(&self) -> Option<SharedMigrator> {
        Some(SharedMigrator::new(sql_migrator([PLANS])))
    }
}

#[tokio::test]
async fn extensions_and_shared_tables_are_not_in_one_schema() {
    let db = TestDb::new().await;
    let (plain, migrator) = (db.plain().await, DynMigrator::tenant(WithExtension));
    let error = registry::migrate(&plain, &migrator, Timeouts::default()).await.unwrap_err();
    assert!(
        matches!(
            &error,
            tenantry_migrate::Error::Extension(ExtensionError::Unusable { reason, .. })
                if reason.contains("exist once")
        ),
        "{error}"
    );
}
