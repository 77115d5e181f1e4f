//! Suspending, archiving, purging and renaming tenants over HTTP.

use serde_json::{Value, json};

use super::{Answer, Site, fields, heard};
use crate::support::{catalog::schemas, http_server::TOKEN};

/// Sends an action with a body.
async fn act(site: &Site, slug: &str, action: &str, body: Value) -> Answer {
    let path = format!("/admin/tenants/{slug}/{action}");
    heard(site.operator("POST", &path).json(&body)).await
}

/// Sends an action without a body.
async fn act_plainly(site: &Site, slug: &str, action: &str) -> Answer {
    heard(site.operator("POST", &format!("/admin/tenants/{slug}/{action}"))).await
}

#[tokio::test]
async fn a_tenant_is_suspended_resumed_archived_restored_and_purged() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    let body = json!({ "reason": "invoice 4711" });
    let suspended = act(&site, "tenant-1", "suspend", body).await.is(200).json();
    assert_eq!(suspended["status"], "suspended");
    assert_eq!(suspended["status_reason"], "invoice 4711");
    // At once, and without the reason.
    let refused = one.get("/guards").await;
    refused.problem(404, "unknown-host");
    assert!(!refused.text.contains("4711"), "{refused:#?}");
    two.get("/guards").await.is(200);
    act_plainly(&site, "tenant-1", "suspend").await.is(200);
    assert_eq!(act_plainly(&site, "tenant-1", "resume").await.is(200).json()["status"], "active");
    act(&site, "tenant-1", "resume", json!({})).await.is(200);
    assert_eq!(one.names("/guards").await, ["Abu"]);

    let archived = act_plainly(&site, "tenant-1", "archive").await.is(200).json();
    assert!(archived["purge_after"].is_string(), "{archived}");
    let refused = one.get("/guards").await;
    refused.problem(404, "unknown-host");
    let problem = act_plainly(&site, "tenant-1", "purge").await.problem(409, "grace-not-over");
    assert!(problem["detail"].as_str().unwrap().contains("\"force\""), "{problem}");
    let answer = heard(site.operator("DELETE", "/admin/tenants/tenant-1")).await;
    answer.problem(409, "grace-not-over");
    let problem =
        act_plainly(&site, "tenant-1", "suspend").await.problem(409, "invalid-transition");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("is archived") && detail.contains("restored or purged"), "{detail}");
    let restored = act_plainly(&site, "tenant-1", "restore").await.is(200).json();
    assert_eq!((&restored["status"], &restored["purge_after"]), (&json!("active"), &Value::Null));
    assert_eq!(one.names("/guards").await, ["Abu"]);

    act_plainly(&site, "tenant-1", "purge").await.problem(409, "invalid-transition");
    act(&site, "tenant-1", "archive", json!({ "grace_seconds": 0 })).await.is(200);
    act_plainly(&site, "tenant-1", "purge").await.is(204);
    act_plainly(&site, "tenant-1", "purge").await.problem(404, "unknown-tenant");
    one.get("/guards").await.problem(404, "unknown-host");
    act_plainly(&site, "tenant-2", "archive").await.is(200);
    act(&site, "tenant-2", "purge", json!({ "force": true })).await.is(204);
    assert_eq!(schemas(&site.db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn a_tenant_is_renamed_and_its_alias_leads_to_it() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    let body = json!({ "slug": "acme", "alias": true });
    let answer = act(&site, "tenant-1", "rename", body).await.is(200);
    assert_eq!(answer.header("content-location"), "/admin/tenants/acme");
    let record = answer.json();
    assert_eq!((&record["slug"], &record["schema"]), (&json!("acme"), &json!("tenant_1")));
    assert_eq!(record["aliases"][0]["slug"], "tenant-1");
    for host in ["acme.localhost", "tenant-1.localhost"] {
        assert_eq!(site.caller(host).names("/guards").await, ["Abu"], "{host}");
    }
    assert!(two.names("/guards").await.is_empty());

    // Without the name of the other tenant.
    let body = json!({ "slug": "tenant-1" });
    let renamed = act(&site, "tenant-2", "rename", body.clone()).await;
    let created = heard(site.operator("POST", "/admin/tenants").json(&body)).await;
    for refused in [renamed, created] {
        let problem = refused.problem(409, "slug-reserved");
        assert!(problem["detail"].as_str().unwrap().contains("reserved until 20"), "{problem}");
        assert!(!refused.text.contains("acme"), "{refused:#?}");
    }
    let taken = act(&site, "tenant-2", "rename", json!({ "slug": "acme" })).await;
    taken.problem(409, "slug-taken");
    // The admin routes know the new slug only.
    act_plainly(&site, "tenant-1", "suspend").await.problem(404, "unknown-tenant");
    let body = json!({ "slug": "tenant-1", "reserve_seconds": 0 });
    act(&site, "acme", "rename", body).await.is(200);
    site.caller("acme.localhost").get("/guards").await.problem(404, "unknown-host");
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn a_write_to_a_read_only_tenant_is_503_and_reads_are_answered() {
    let (site, one, two) = Site::with_tenants().await;
    let path = one.guard("Abu", "Guard").await;
    let body = json!({ "read_only": true });
    let record = act(&site, "tenant-1", "read-only", body.clone()).await.is(200).json();
    assert_eq!(record["read_only"], true);
    act(&site, "tenant-1", "read-only", body).await.is(200);
    let guard = json!({ "name": "Bea", "position": "Guard" });
    for refused in [
        one.post("/guards", guard.clone()).await,
        one.patch(&path, json!({ "name": "Bea" })).await,
        one.delete(&path).await,
    ] {
        refused.problem(503, "tenant-read-only");
        assert!(refused.header("retry-after").parse::<u32>().is_ok());
    }
    one.get(&path).await.is(200);
    assert_eq!(one.names("/guards").await, ["Abu"]);
    two.post("/guards", guard.clone()).await.is(201);
    act(&site, "tenant-1", "read-only", json!({ "read_only": false })).await.is(200);
    one.post("/guards", guard).await.is(201);
}

#[tokio::test]
async fn the_body_of_an_action_is_checked_and_only_the_operator_may_send_it() {
    let (site, _, _) = Site::with_tenants().await;
    for (action, body, wanted) in [
        ("suspend", json!({ "reason": "two\nlines" }), ("reason", "reason")),
        ("suspend", json!({ "reason": 1 }), ("reason", "type")),
        ("suspend", json!({ "why": "x" }), ("why", "unknown")),
        ("resume", json!({ "x": 1 }), ("x", "unknown")),
        ("archive", json!({ "grace_seconds": -1 }), ("grace_seconds", "type")),
        ("purge", json!({ "force": "yes" }), ("force", "type")),
        ("read-only", json!({}), ("read_only", "required")),
        ("read-only", json!({ "read_only": "yes" }), ("read_only", "type")),
        ("rename", json!({}), ("slug", "required")),
        ("rename", json!({ "slug": "No" }), ("slug", "slug")),
    ] {
        let answer = act(&site, "tenant-1", action, body.clone()).await;
        assert_eq!(answer.invalid(), fields([wanted]), "{action} {body}");
    }
    let form = site.operator("POST", "/admin/tenants/tenant-1/purge").body("force=true");
    heard(form).await.problem(415, "unsupported-media-type");
    for action in ["suspend", "resume", "archive", "restore", "purge", "read-only", "rename"] {
        let path = format!("/admin/tenants/tenant-1/{action}");
        let base = site.caller("localhost");
        heard(base.request("POST", &path)).await.problem(401, "unauthorized");
        let other_host = site.caller("tenant-1.localhost");
        let request = other_host.request("POST", &path).bearer_auth(TOKEN);
        heard(request.json(&json!({ "slug": "a" }))).await.problem(404, "no-such-path");
        heard(site.operator("GET", &path)).await.problem(405, "method-not-allowed");
    }
    let shown = heard(site.operator("GET", "/admin/tenants/tenant-1")).await.is(200).json();
    assert_eq!((&shown["status"], &shown["status_since"]), (&json!("active"), &Value::Null));
}
