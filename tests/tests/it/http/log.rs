//! The request log, and secrets that it must not contain.

use serde_json::Value;

use super::{Site, heard};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN},
};

#[tokio::test]
async fn a_sane_request_id_of_the_client_is_kept() {
    let (site, one, _) = Site::with_tenants().await;
    for id in ["a", "7f0c-42_A.b", &"x".repeat(64)] {
        let request = one.request("GET", "/guards").header("x-request-id", id);
        assert_eq!(heard(request).await.is(200).header("x-request-id"), id);
    }
    let request = one.request("GET", "/nowhere").header("x-request-id", "lost-1");
    let answer = heard(request).await;
    answer.problem(404, "no-such-path");
    assert_eq!(answer.header("x-request-id"), "lost-1");
    assert_eq!(site.serving.logged("lost-1").await.len(), 1);
}

#[tokio::test]
async fn any_other_request_id_is_replaced() {
    let (site, one, _) = Site::with_tenants().await;
    for id in ["", "two words", "tab\there", "a\"b", "<b>", &"x".repeat(65), "\u{e4}"] {
        let request = one.request("GET", "/guards").header("x-request-id", id);
        let answer = heard(request).await.is(200);
        let made = answer.header("x-request-id");
        assert!(made.parse::<uuid::Uuid>().is_ok(), "{id:?} became {made:?}");
        site.serving.logged(made).await;
        if id.len() > 1 {
            assert!(!site.serving.stderr().contains(id), "{id:?} is in the log");
        }
    }
    let answer = one.get("/guards").await;
    let made = answer.header("x-request-id");
    assert!(made.parse::<uuid::Uuid>().is_ok(), "nothing became {made:?}");
}

#[tokio::test]
async fn each_request_is_one_line_with_its_tenant() {
    let (site, one, two) = Site::with_tenants().await;
    for (caller, tenant) in [(&one, "tenant-1"), (&two, "tenant-2")] {
        let id = format!("of-{tenant}");
        let request = caller.request("GET", "/guards?search=secret");
        heard(request.header("x-request-id", &id)).await.is(200);
        let lines = site.serving.logged(&id).await;
        let [line] = lines.as_slice() else {
            panic!("not one line: {lines:#?}");
        };
        for part in
            [&format!("tenant={tenant}}}"), "method=GET", "path=\"/guards\"", "status=200", "INFO"]
        {
            assert!(line.contains(part), "no {part} in {line}");
        }
        // What is looked for may be a person's name.
        assert!(!line.contains("secret"), "{line}");
    }
}

#[tokio::test]
async fn the_log_can_be_json() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_LOG_FORMAT", "json");
    let serving = HttpServer::launch(&mut command);
    let site = Site { serving, db };
    site.create("tenant-1").await;
    let tenant = site.caller("tenant-1.localhost");
    let request = tenant.request("GET", "/guards");
    heard(request.header("x-request-id", "in-json")).await.is(200);
    let lines = site.serving.logged("in-json").await;
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["span"]["tenant"], "tenant-1", "{line}");
}

#[tokio::test]
async fn neither_the_token_nor_the_password_is_ever_shown() {
    let db = TestDb::new().await;
    // Who connects by the socket is let in with any password.
    let url = db.url().replace("postgres@", "postgres:pass-in-the-url@");
    assert_ne!(url, db.url());
    let mut command = HttpServer::command(&url);
    command
        .env("TENANTRY_ADMIN_TOKEN", TOKEN)
        // The most verbose filter.
        .env("RUST_LOG", "debug");
    let serving = HttpServer::launch(&mut command);
    let site = Site { serving, db };
    site.create("tenant-1").await;
    let tenant = site.caller("tenant-1.localhost");
    tenant.guard("Abu", "Guard").await;
    let plain = site.db.plain().await;
    super::execute(&plain, "ALTER TABLE tenant_1.guards RENAME position TO place").await;
    tenant.get("/guards").await.problem(500, "internal");
    let wrong = site.caller("localhost").request("GET", "/admin/tenants");
    let wrong = wrong.bearer_auth("a-wrong-token-of-another").header("x-request-id", "last-1");
    heard(wrong).await.problem(401, "unauthorized");
    site.serving.logged("last-1").await;
    for said in [site.serving.stdout(), site.serving.stderr()] {
        for secret in [TOKEN, "pass-in-the-url", "a-wrong-token-of-another"] {
            assert!(!said.contains(secret), "{secret} is in {said}");
        }
    }
}

#[tokio::test]
async fn a_log_of_warnings_tells_whose_request_failed() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("RUST_LOG", "warn");
    let serving = HttpServer::launch(&mut command);
    let site = Site { serving, db };
    site.create("tenant-1").await;
    let plain = site.db.plain().await;
    super::execute(&plain, "ALTER TABLE tenant_1.guards RENAME position TO place").await;
    let request = site.caller("tenant-1.localhost").request("GET", "/guards");
    let answer = heard(request.header("x-request-id", "broken-2")).await;
    answer.problem(500, "internal");
    let lines = site.serving.logged("broken-2").await;
    for part in ["ERROR", "tenant=tenant-1}", "path=\"/guards\"", "status=500", "does not exist"] {
        assert!(lines[0].contains(part), "no {part} in {lines:?}");
    }
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_refused_tenant_is_named_once_by_whatever_host() {
    let site = Site::new().await;
    let tenant = serde_json::json!({ "slug": "tenant-1", "domains": ["guards.example.org"] });
    heard(site.operator("POST", "/admin/tenants").json(&tenant)).await.is(201);
    for status in ["active", "suspended"] {
        site.set_status("tenant-1", status).await;
        for host in ["tenant-1.localhost", "guards.example.org"] {
            let caller = site.caller(host);
            let wanted = if status == "active" { 200 } else { 404 };
            crate::support::http_server::eventually("the state is known", async || {
                caller.get("/guards").await.status == wanted
            })
            .await;
            let id = format!("{status}-{host}");
            let request = caller.request("GET", "/guards").header("x-request-id", &id);
            heard(request).await.is(wanted);
            let lines = site.serving.logged(&id).await;
            assert_eq!(lines[0].matches("tenant=tenant-1}").count(), 1, "{lines:?}");
        }
    }
}
