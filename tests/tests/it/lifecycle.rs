//! Tenants come and go: whole, or not at all.

use entity::tenant::guard;
use sea_orm::{ActiveModelTrait, EntityTrait, Set};
use service::tenancy::{Access, Error, NewTenant, Refused};

use crate::support::{TestDb, slug};

#[tokio::test]
async fn a_tenant_lives_in_a_schema_of_its_own_and_is_gone_with_it() {
    let db = TestDb::new().await;
    let (tenancy, [one, two]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let abu = guard::ActiveModel {
        name: Set("Abu".into()),
        position: Set("Guard".into()),
        ..Default::default()
    };
    let abu = abu.insert(&one).await.unwrap();
    assert_eq!(guard::Entity::find().all(&one).await.unwrap(), [abu]);
    assert!(guard::Entity::find().all(&two).await.unwrap().is_empty());

    tenancy.drop(&slug("tenant-1")).await.unwrap();
    let error = guard::Entity::find().all(&one).await.unwrap_err();
    assert_eq!(Refused::find(&error).unwrap().access, Access::Dropped);
    let error = tenancy.tenant(&slug("tenant-1")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
    tenancy
        .create(NewTenant::new(slug("tenant-1")))
        .await
        .unwrap();
}
