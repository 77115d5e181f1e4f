//! What other processes change is known to a running server at once.

use super::Site;
use crate::support::{process::Ran, serving::eventually};

#[tokio::test]
async fn a_host_name_that_another_process_adds_or_removes_counts_at_once() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    two.guard("Bea", "Guard").await;
    let custom = site.caller("guards.example.org:8443");
    custom.get("/guards").await.problem(404, "unknown-host");

    tenantry(&site, &["tenant", "domain", "add", "tenant-1", "Guards.Example.org"]);
    becomes(&custom, 200).await;
    assert_eq!(custom.names("/guards").await, ["Abu"]);

    // From one tenant to the other: never both, and not the first one again.
    tenantry(&site, &["tenant", "domain", "remove", "tenant-1", "guards.example.org"]);
    becomes(&custom, 404).await;
    tenantry(&site, &["tenant", "domain", "add", "tenant-2", "guards.example.org"]);
    becomes(&custom, 200).await;
    assert_eq!(custom.names("/guards").await, ["Bea"]);
}

#[tokio::test]
async fn a_tenant_that_another_process_makes_or_drops_comes_and_goes_at_once() {
    let site = Site::new().await;
    let tenant = site.caller("tenant-1.localhost");
    tenant.get("/guards").await.problem(404, "unknown-host");
    tenantry(&site, &["tenant", "create", "tenant-1", "--domain", "guards.example.org"]);
    becomes(&tenant, 200).await;
    tenant.guard("Abu", "Guard").await;
    let custom = site.caller("guards.example.org");
    assert_eq!(custom.names("/guards").await, ["Abu"]);

    tenantry(&site, &["tenant", "drop", "tenant-1", "--yes"]);
    becomes(&tenant, 404).await;
    becomes(&custom, 404).await;
    tenant.get("/guards").await.problem(404, "unknown-host");

    // The next one of that name is another tenant.
    tenantry(&site, &["tenant", "create", "tenant-1"]);
    becomes(&tenant, 200).await;
    assert!(tenant.names("/guards").await.is_empty());
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_until_it_is_active_again() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    site.set_status("tenant-1", "suspended").await;
    becomes(&one, 403).await;
    let problem = one.get("/guards").await.problem(403, "suspended");
    assert_eq!(problem["detail"], "tenant tenant-1 is suspended");
    let input = serde_json::json!({ "name": "Bea", "position": "Guard" });
    one.post("/guards", input).await.problem(403, "suspended");
    two.get("/guards").await.is(200);

    site.set_status("tenant-1", "active").await;
    becomes(&one, 200).await;
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn an_archived_tenant_is_gone() {
    let (site, one, _) = Site::with_tenants().await;
    one.get("/guards").await.is(200);
    site.set_status("tenant-1", "archived").await;
    becomes(&one, 410).await;
    let problem = one.get("/guards").await.problem(410, "archived");
    assert_eq!(problem["detail"], "tenant tenant-1 is archived");
}

#[tokio::test]
async fn announcements_are_heard_again_after_the_connection_for_them_was_lost() {
    let (site, one, _) = Site::with_tenants().await;
    one.get("/guards").await.is(200);
    let db = site.db.plain().await;
    super::execute(
        &db,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    site.set_status("tenant-1", "suspended").await;
    becomes(&one, 403).await;
}

fn tenantry(site: &Site, arguments: &[&str]) {
    Ran::on("tenantry", &site.db.url(), arguments).exits(0);
}

async fn becomes(caller: &super::Caller, status: u16) {
    eventually(&format!("the answer is {status}"), async || {
        caller.get("/guards").await.status == status
    })
    .await;
}
