//! Changes of a tenant's row: made or not made, at whatever step the connection breaks.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use tenantry::{Config, Error, NewTenant, RenameOptions, Tenancy};

use crate::support::{TestDb, catalog::texts, slug, tcp_proxy::TcpProxy};

/// Each is followed by the one that undoes it.
const CHANGES: [&str; 8] =
    ["suspend", "resume", "archive", "restore", "read-only", "writable", "rename", "rename back"];

async fn change(tenancy: &Tenancy, change: &str) -> Result<(), Error> {
    let (old, new) = (slug("old"), slug("new"));
    let mut options = RenameOptions::default();
    options.alias = true;
    match change {
        "suspend" => tenancy.suspend(&old, Some("a reason".parse()?)).await?,
        "resume" => tenancy.resume(&old).await?,
        "archive" => tenancy.archive(&old, Duration::from_secs(60)).await?,
        "restore" => tenancy.restore(&old).await?,
        "read-only" => tenancy.set_read_only(&old, true).await?,
        "writable" => tenancy.set_read_only(&old, false).await?,
        "rename" => tenancy.rename(&old, &new, options).await?,
        "rename back" => tenancy.rename(&new, &old, options).await?,
        other => panic!("{other}"),
    };
    Ok(())
}

/// The row of the tenant and its earlier slugs, without times.
async fn stored(db: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', t.slug, status, status_reason, status_before,
                   read_only, status_since IS NULL, purge_after IS NULL, a.slug, redirects)
               FROM registry.tenants t LEFT JOIN registry.aliases a ON tenant_id = t.id";
    texts(db, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_tenant_that_is_killed_at_any_step_is_made_or_not_and_can_be_repeated() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let direct = db.tenancy().await;
    direct.create(NewTenant::new(slug("old"))).await.unwrap();
    for (number, name) in CHANGES.into_iter().enumerate() {
        let before = stored(&plain).await;
        change(&direct, name).await.unwrap();
        let after = stored(&plain).await;
        assert_ne!(before, after, "{name}");
        let back = CHANGES[number ^ 1];
        let mut killed = 0;
        loop {
            change(&direct, back).await.unwrap();
            let start = stored(&plain).await;
            wire.terminate_after(killed);
            let result = change(&tenancy, name).await;
            if !wire.disarm() {
                result.unwrap();
                assert_eq!(stored(&plain).await, after, "{name}");
                break;
            }
            killed += 1;
            let found = stored(&plain).await;
            assert!(found == start || found == after, "{name} step {killed}: {found:?}");
            // The answer of the last step may be lost.
            assert!(result.is_err() || found == after, "{name} step {killed}");
            change(&tenancy, name).await.unwrap();
            assert_eq!(stored(&plain).await, after, "{name} step {killed}");
        }
        assert!(killed > 4, "{name}: only {killed} steps were seen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_killed_at_any_step_leaves_the_tenant_archived_or_is_continued() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let direct = db.tenancy().await;
    let status = "SELECT status FROM registry.tenants WHERE status <> 'dropped'";
    let (mut killed, mut halves) = (0, 0);
    loop {
        direct.create(NewTenant::new(slug("acme"))).await.unwrap();
        direct.archive(&slug("acme"), Duration::ZERO).await.unwrap();
        wire.terminate_after(killed);
        let result = tenancy.purge(&slug("acme"), false).await;
        if !wire.disarm() {
            result.unwrap();
            break;
        }
        killed += 1;
        let found = texts(&plain, status).await;
        halves += usize::from(found == ["dropping"]);
        if found.is_empty() {
            continue;
        }
        result.unwrap_err();
        assert!(found == ["archived"] || found == ["dropping"], "step {killed}: {found:?}");
        let expired = direct.expired().await.unwrap();
        assert_eq!(expired.len(), 1, "step {killed}");
        direct.purge(&expired[0].slug, false).await.unwrap();
    }
    assert_eq!(texts(&plain, status).await, [""; 0]);
    assert!(killed > 8 && halves > 0, "only {killed} steps were seen, {halves} of them marked");
}
