//! Seeds of new tenants.

use entity::guard;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, PaginatorTrait, Statement, TransactionTrait,
};
use service::guard::NewGuard;
use tenantry::{Config, DbErrorKind, Error, NewTenant, Tenancy, TenantTransaction};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::eventually,
    slug,
};

/// The first guard of a tenant has its name.
async fn first_guard(tenant: &TenantTransaction) -> Result<(), service::Error> {
    let name = Some(format!("Guard of {} in {}", tenant.slug(), tenant.schema()));
    let position = Some(tenant.id().to_string());
    service::guard::create_in(tenant, NewGuard { name, position }).await?;
    Ok(())
}

#[tokio::test]
async fn every_new_tenant_is_seeded_whether_made_or_taken_from_the_spares() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let mut tenancies = Vec::new();
    for spares in [0, 1] {
        let config = Config { spares, ..db.config() }.seed(first_guard);
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let ready = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
        eventually("there is a spare", async || {
            texts(&plain, ready).await.len() == spares as usize
        })
        .await;
        let slug = slug(&format!("tenant-{spares}"));
        let record = tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
        let tenant = tenancy.tenant(&slug).await.unwrap();
        let guards = guard::Entity::find().all(&tenant).await.unwrap();
        let names: Vec<_> = guards.into_iter().map(|it| (it.name, it.position)).collect();
        let name = format!("Guard of {slug} in {}", record.schema);
        assert_eq!(names, [(name, record.id.to_string())]);
        tenancies.push(tenancy);
    }
    // A spare is not seeded.
    let spare = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    eventually("there is a spare", async || texts(&plain, spare).await.len() == 1).await;
    let spare = texts(&plain, spare).await.remove(0);
    assert_eq!(texts(&plain, &format!("SELECT name FROM {spare}.guards")).await, [""; 0]);
}

#[tokio::test]
async fn a_tenant_whose_seed_fails_is_not_created() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for spares in [0, 1] {
        let config = Config { spares, ..db.config() }.seed(async |tenant: &TenantTransaction| {
            first_guard(tenant).await?;
            let inner = tenant.begin().await?;
            assert_eq!(guard::Entity::find().count(&inner).await?, 1);
            inner.rollback().await?;
            Err::<(), service::Error>(DbErr::Custom("no guards today".to_owned()).into())
        });
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let error = tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap_err();
        assert!(matches!(&error, Error::Seed { slug, .. } if slug.as_str() == "tenant-1"));
        assert!(error.to_string().contains("no guards today"), "{error}");
        assert_eq!(tenancy.get(&slug("tenant-1")).await.unwrap(), None);
        tenancy.close().await;
    }
    let mut left = schemas(&plain).await;
    left.retain(|name| !name.starts_with("spare_"));
    assert_eq!(left, ["public", "registry"]);
}

#[tokio::test]
async fn a_seed_error_has_the_kind_of_its_database_error() {
    let db = TestDb::new().await;
    let config = db.config().seed(async |tenant: &TenantTransaction| {
        let twice = r#"INSERT INTO "@tenant"."guards"
            SELECT '00000000-0000-0000-0000-000000000000', 'Abu', 'Guard', now(), now()
            FROM generate_series(1, 2)"#;
        tenant.execute_raw(Statement::from_string(DbBackend::Postgres, twice)).await.map(|_| ())
    });
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap_err();
    assert_eq!(
        error.db_error_kind(),
        Some(DbErrorKind::Unique("guards_pkey".to_owned())),
        "{error}"
    );
}
