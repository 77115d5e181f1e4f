//! Copies of tenants with and without the owner's URL.

use std::time::Duration;

use sea_orm::{ActiveModelTrait, ConnectionTrait};
use tenantry::{CloneOptions, Config, Error, ImportOptions, Tenancy, TransferError};
use tokio::io::duplex;

use super::{Site, assert_clean, create, is_refused};
use crate::support::{abu, catalog::texts, slug};

async fn export(tenancy: &Tenancy) -> Result<Vec<u8>, Error> {
    let mut archive = Vec::new();
    tenancy.export(&slug("tenant-1"), &mut archive, &Default::default()).await?;
    Ok(archive)
}

async fn import(tenancy: &Tenancy, archive: &[u8], new: &str) -> Result<(), Error> {
    let options = ImportOptions { slug: Some(slug(new)), ..Default::default() };
    tenancy.import(archive, &options).await.map(drop)
}

async fn clone(tenancy: &Tenancy, new: &str) -> Result<(), Error> {
    let options = CloneOptions::default();
    tenancy.clone_tenant(&slug("tenant-1"), &slug(new), &options).await.map(drop)
}

#[tokio::test]
async fn the_owner_copies_tenants_and_the_application_role_exports_them() {
    let site = Site::set_up().await;
    let (with, without) = (site.with_owner().await, site.without_owner().await);
    create(&with, "tenant-1").await.unwrap();
    abu().insert(&with.tenant(&slug("tenant-1")).await.unwrap()).await.unwrap();
    let archive = export(&without).await.unwrap();
    let again = export(&with).await.unwrap();
    for (new, copied) in [
        ("tenant-2", import(&with, &archive, "tenant-2").await),
        ("tenant-3", import(&with, &again, "tenant-3").await),
        ("tenant-4", clone(&with, "tenant-4").await),
    ] {
        copied.unwrap();
        // By the application's role.
        let tenant = without.tenant(&slug(new)).await.unwrap();
        abu().insert(&tenant).await.unwrap();
    }
    let plain = site.db.plain().await;
    assert_clean(&plain).await;
    let before = texts(&plain, "SELECT slug FROM registry.tenants ORDER BY 1").await;
    assert!(is_refused(&import(&without, &archive, "tenant-5").await));
    assert!(is_refused(&clone(&without, "tenant-5").await));
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants ORDER BY 1").await, before);
}

/// Policies do not apply to the owner of a table.
#[tokio::test]
async fn rows_that_policies_hide_from_the_application_role_are_copied_by_the_owner() {
    let site = Site::set_up().await;
    let (with, without) = (site.with_owner().await, site.without_owner().await);
    create(&with, "tenant-1").await.unwrap();
    abu().insert(&with.tenant(&slug("tenant-1")).await.unwrap()).await.unwrap();
    let plain = site.db.plain().await;
    let hide = "ALTER TABLE tenant_1.guards ENABLE ROW LEVEL SECURITY";
    plain.execute_unprepared(hide).await.unwrap();
    // Refused, and not an archive without the rows.
    let refused = export(&without).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    import(&with, &export(&with).await.unwrap(), "tenant-2").await.unwrap();
    clone(&with, "tenant-3").await.unwrap();
    for schema in ["tenant_2", "tenant_3"] {
        let rows = format!("SELECT count(*)::text FROM {schema}.guards");
        assert_eq!(texts(&plain, &rows).await, ["1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_leave_connections_of_the_owner_to_creations() {
    let site = Site::set_up().await;
    let config = Config { acquire_timeout: Duration::from_millis(500), ..site.config() };
    let tenancy = Tenancy::connect(&config.owner_url(site.owner_url())).await.unwrap();
    create(&tenancy, "tenant-1").await.unwrap();
    let archive = export(&tenancy).await.unwrap();
    let mut writers = Vec::new();
    let mut stalled = tokio::task::JoinSet::new();
    for number in 0..2 {
        let (mut writer, reader) = duplex(1 << 20);
        // The manifest, and none of the rows.
        tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[..2048]).await.unwrap();
        writers.push(writer);
        let tenancy = tenancy.clone();
        stalled.spawn(async move {
            let new = Some(slug(&format!("stalled-{number}")));
            let options = ImportOptions { slug: new, ..Default::default() };
            tenancy.import(reader, &options).await.map(drop)
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let third = clone(&tenancy, "tenant-2").await;
    assert!(
        matches!(third, Err(Error::Transfer(TransferError::TooMany { limit: 2 }))),
        "{third:?}"
    );
    let created = (2..6).map(|number| format!("created-{number}"));
    for name in created {
        create(&tenancy, &name).await.unwrap();
    }
    drop(writers);
    for ended in stalled.join_all().await {
        ended.unwrap_err();
    }
    clone(&tenancy, "tenant-2").await.unwrap();
}
