//! Changes of a tenant's row: made or not made, at whatever step the connection breaks.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use tenantry::{Config, Error, Limits, NewTenant, RenameOptions, Tenancy, TenantUpdate};

use super::assert_well;
use crate::support::{TestDb, catalog::texts, slug, tcp_proxy::TcpProxy};

/// Each is followed by the one that undoes it.
const CHANGES: [&str; 14] = [
    "suspend",
    "resume",
    "archive",
    "restore",
    "read-only",
    "writable",
    "rename",
    "rename back",
    "update",
    "update back",
    "limit",
    "no limit",
    "domain",
    "no domain",
];

async fn change(tenancy: &Tenancy, change: &str) -> Result<(), Error> {
    let (old, new) = (slug("old"), slug("new"));
    let mut options = RenameOptions::default();
    options.alias = true;
    let name = |name: Option<&str>| TenantUpdate::new().name(name.map(|it| it.parse().unwrap()));
    let limits = |max_waiting| Limits { max_waiting, ..Limits::default() };
    let host = "old.example.org".parse()?;
    match change {
        "suspend" => tenancy.suspend(&old, Some("a reason".parse()?)).await?,
        "resume" => tenancy.resume(&old).await?,
        "archive" => tenancy.archive(&old, Some(Duration::from_secs(60))).await?,
        "restore" => tenancy.restore(&old).await?,
        "read-only" => tenancy.set_read_only(&old, true).await?,
        "writable" => tenancy.set_read_only(&old, false).await?,
        "rename" => tenancy.rename(&old, &new, options).await?,
        "rename back" => tenancy.rename(&new, &old, options).await?,
        "update" => tenancy.update(&old, name(Some("Old"))).await?,
        "update back" => tenancy.update(&old, name(None)).await?,
        "limit" => return tenancy.limit(&old, limits(Some(3))).await,
        "no limit" => return tenancy.limit(&old, limits(None)).await,
        "domain" => return tenancy.domain_add(&old, &host).await,
        "no domain" => {
            return match tenancy.domain_remove(&old, &host).await {
                // The answer of the first attempt was lost.
                Err(Error::UnknownDomain { .. }) => Ok(()),
                removed => removed,
            };
        }
        other => panic!("{other}"),
    };
    Ok(())
}

/// The row of the tenant, its earlier slugs and hostnames without times, and the number of entries
/// about it in the audit log.
async fn stored(db: &DatabaseConnection) -> (Vec<String>, u32) {
    let sql = "SELECT concat_ws(' ', t.slug, status, status_reason, status_before, metadata,
                   max_waiting, read_only, status_since IS NULL, purge_after IS NULL, a.slug,
                   redirects, hostname)
               FROM registry.tenants t LEFT JOIN registry.aliases a ON a.tenant_id = t.id
               LEFT JOIN registry.domains d ON d.tenant_id = t.id";
    let entries = texts(db, "SELECT count(*)::text FROM registry.audit").await;
    (texts(db, sql).await, entries[0].parse().unwrap())
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
        let (before, _) = stored(&plain).await;
        change(&direct, name).await.unwrap();
        let (after, _) = stored(&plain).await;
        assert_ne!(before, after, "{name}");
        let back = CHANGES[number ^ 1];
        let mut killed = 0;
        loop {
            change(&direct, back).await.unwrap();
            let (start, entries) = stored(&plain).await;
            // One entry of the change, however often it is requested.
            let changed = (after.clone(), entries + 1);
            wire.terminate_after(killed);
            let result = change(&tenancy, name).await;
            if !wire.disarm() {
                result.unwrap();
                assert_eq!(stored(&plain).await, changed, "{name}");
                break;
            }
            killed += 1;
            let found = stored(&plain).await;
            let start = (start, entries);
            assert!(found == start || found == changed, "{name} step {killed}: {found:?}");
            // The answer of the last step may be lost.
            assert!(result.is_err() || found == changed, "{name} step {killed}");
            change(&tenancy, name).await.unwrap();
            assert_eq!(stored(&plain).await, changed, "{name} step {killed}");
        }
        assert!(killed > 3, "{name}: only {killed} steps were seen");
    }
    assert_well(&direct).await;
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
        direct.archive(&slug("acme"), Some(Duration::ZERO)).await.unwrap();
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
    assert_well(&direct).await;
    assert!(killed > 8 && halves > 0, "only {killed} steps were seen, {halves} of them marked");
}
