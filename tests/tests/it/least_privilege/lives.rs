//! The rest of a tenant's life with and without the owner's URL.

use std::time::Duration;

use sea_orm::{ActiveModelTrait, ConnectionTrait};
use tenantry::{
    DEFAULT_GRACE, DoctorOptions, Error, NewApiKey, NewTenant, OwnerError, RenameOptions, Scope,
    Tenancy,
};

use super::{Site, assert_clean, create, is_refused};
use crate::support::{
    abu,
    catalog::{schemas, texts},
    slug,
};

/// What needs the rows of the registry only.
async fn change_rows(tenancy: &Tenancy) {
    let (one, two) = (slug("tenant-1"), slug("tenant-2"));
    tenancy.suspend(&one, None).await.unwrap();
    tenancy.resume(&one).await.unwrap();
    let mut options = RenameOptions::default();
    options.reserve_for = Duration::ZERO;
    tenancy.rename(&one, &two, options).await.unwrap();
    let new = NewApiKey {
        name: "report".parse().unwrap(),
        tenant: Some(two.clone()),
        scopes: [Scope::Read].into(),
        expires_at: None,
    };
    let created = tenancy.key_create(new).await.unwrap();
    tenancy.key_verify(&created.key).await.unwrap();
    tenancy.key_revoke(&created.info.id.to_string()).await.unwrap();
    let found = tenancy.doctor(&DoctorOptions { min_age: Duration::ZERO }).await.unwrap();
    assert!(found.complete && found.findings.is_empty(), "{found:?}");
    tenancy.archive(&two, Some(DEFAULT_GRACE)).await.unwrap();
    tenancy.restore(&two).await.unwrap();
    let tenant = tenancy.tenant(&two).await.unwrap();
    abu().insert(&tenant).await.unwrap();
    tenancy.archive(&two, Some(DEFAULT_GRACE)).await.unwrap();
}

#[tokio::test]
async fn the_application_role_changes_a_tenant_and_only_the_owner_purges_it() {
    let site = Site::set_up().await;
    let owner = site.with_owner().await;
    let plain = site.db.plain().await;
    for tenancy in [&site.without_owner().await, &owner] {
        create(&owner, "tenant-1").await.unwrap();
        change_rows(tenancy).await;
        assert_clean(&plain).await;
        let purged = site.without_owner().await.purge(&slug("tenant-2"), true).await;
        assert!(is_refused(&purged), "{purged:?}");
        assert_eq!(owner.get(&slug("tenant-2")).await.unwrap().unwrap().status, "archived");
        owner.purge(&slug("tenant-2"), true).await.unwrap();
        assert_eq!(schemas(&plain).await, ["public", "registry"]);
    }
}

#[tokio::test]
async fn a_tenant_whose_schema_belongs_to_another_role_is_not_marked_as_dropped() {
    let site = Site::set_up().await;
    let owner = site.with_owner().await;
    site.db.tenancy().await.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let plain = site.db.plain().await;
    let row = "SELECT to_jsonb(t)::text FROM registry.tenants t";
    let before = texts(&plain, row).await;
    let dropped = owner.drop(&slug("tenant-1")).await;
    let Err(Error::Owner(refused @ OwnerError::NotOwner { .. })) = &dropped else {
        panic!("{dropped:?}");
    };
    let text = refused.to_string();
    assert!(text.contains("\"postgres\"") && text.contains(&site.roles[0].0), "{text}");
    assert_eq!(texts(&plain, row).await, before);
    assert_eq!(texts(&plain, "SELECT action FROM registry.audit").await, ["created"]);
    owner.tenant(&slug("tenant-1")).await.unwrap();
    site.apply(&super::taking()).await.unwrap();
    owner.drop(&slug("tenant-1")).await.unwrap();
}

#[tokio::test]
async fn a_serving_role_that_can_become_an_owner_has_its_rights() {
    let site = Site::set_up().await;
    create(&site.with_owner().await, "tenant-1").await.unwrap();
    let [owner, app] = &site.roles[..] else { unreachable!() };
    let owns = async || site.without_owner().await.serving_role().owns_tables;
    assert!(!owns().await);
    let plain = site.db.plain().await;
    let run = async |sql: String| plain.execute_unprepared(&sql).await.unwrap();
    run(format!("ALTER ROLE {} NOINHERIT; GRANT {} TO {0}", app.0, owner.0)).await;
    assert!(owns().await);
    run(format!("REVOKE {} FROM {}", owner.0, app.0)).await;
    assert!(!owns().await);
    run(format!("ALTER SCHEMA tenant_1 OWNER TO {}", app.0)).await;
    assert!(owns().await);
}
