//! A tenant that is suspended, archived or dropped and a host without a tenant look alike.

use reqwest::header::HeaderMap;
use serde_json::json;

use super::{Answer, Site, heard, keys::closed};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN, eventually},
};

#[tokio::test]
async fn a_tenant_that_is_not_available_is_answered_as_an_unknown_host_and_the_log_says_why() {
    let site = Site::new().await;
    let tenant = json!({ "slug": "tenant-1", "domains": ["guards.example.org"] });
    heard(site.operator("POST", "/admin/tenants").json(&tenant)).await.is(201);
    let allow = json!({ "cors_origins": ["https://app.example.org"] });
    heard(site.operator("PATCH", "/admin/tenants/tenant-1").json(&allow)).await.is(200);
    site.caller("tenant-1.localhost").get("/guards").await.is(200);
    for status in ["suspended", "archived"] {
        site.set_status("tenant-1", status).await;
        for (hidden, unknown) in [
            ("tenant-1.localhost", "tenant-9.localhost"),
            ("guards.example.org", "rivers.example.org"),
        ] {
            let reason = format!("tenant_is=\"{status}\"");
            eventually("the log says why", async || {
                site.caller(hidden).get("/guards").await;
                site.serving.stderr().contains(&reason)
            })
            .await;
            for (method, path) in [
                ("GET", "/guards"),
                ("POST", "/guards"),
                ("PUT", "/guards"),
                ("OPTIONS", "/guards"),
                ("GET", "/nowhere"),
                ("GET", "/admin/tenants"),
            ] {
                let ask = async |host: &str| {
                    let request = site.caller(host).request(method, path);
                    let request = request
                        .header("x-request-id", format!("{status}-{method}"))
                        .header("origin", "https://app.example.org")
                        .header("access-control-request-method", "GET")
                        .body(vec![b'x'; 70_000]);
                    alike(heard(request).await, host)
                };
                let (one, other) = (ask(hidden).await, ask(unknown).await);
                assert_eq!(one, other, "{status} {method} {path}");
                assert!((400..500).contains(&one.0), "{one:?}");
            }
        }
        let lines = site.serving.logged(&format!("{status}-GET")).await;
        let named = lines.iter().filter(|line| line.contains(&format!("tenant_is=\"{status}\"")));
        assert!(named.clone().count() >= 2, "{lines:#?}");
        assert!(named.clone().all(|line| line.contains("tenant=tenant-1}")), "{lines:#?}");
        // Operators see the status.
        let shown = heard(site.operator("GET", "/admin/tenants/tenant-1")).await.is(200);
        assert_eq!(shown.json()["status"], status);
    }
    site.set_status("tenant-1", "active").await;
    eventually("it is served", async || {
        site.caller("guards.example.org").get("/guards").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_tenant_with_settings_of_its_own_from_none() {
    let db = TestDb::new().await;
    let site = Site { serving: closed(&db), db };
    site.create("tenant-1").await;
    let own = json!({ "max_body_bytes": 200_000, "cors_origins": ["https://app.example.org"] });
    heard(site.operator("PATCH", "/admin/tenants/tenant-1").json(&own)).await.is(200);
    for (method, path, length) in [
        ("GET", "/guards", 0),
        ("POST", "/guards", 10),
        ("POST", "/guards", 100_000),
        ("POST", "/guards", 300_000),
        ("POST", "/nowhere", 100_000),
        ("PUT", "/guards", 100_000),
        ("OPTIONS", "/guards", 0),
        ("GET", "/admin/tenants", 0),
    ] {
        let ask = async |host: &str| {
            let request = site.caller(host).request(method, path).body(vec![b'x'; length]);
            alike(heard(request.header("x-request-id", "one")).await, host)
        };
        let (one, other) = (ask("tenant-1.localhost").await, ask("tenant-9.localhost").await);
        assert_eq!(one, other, "{method} {path} {length}");
        assert!([401, 404].contains(&one.0), "{one:?}");
    }
}

#[tokio::test]
async fn a_server_can_be_configured_to_tell_the_reason() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_REVEAL_UNAVAILABLE", "true");
    let site = Site { serving: HttpServer::launch(&mut command), db };
    site.create("tenant-1").await;
    let one = site.caller("tenant-1.localhost");
    for (status, code) in [("suspended", 403), ("archived", 410)] {
        site.set_status("tenant-1", status).await;
        eventually("it is refused", async || one.get("/guards").await.status == code).await;
        let problem = one.get("/guards").await.problem(code, status);
        assert_eq!(problem["detail"], format!("tenant tenant-1 is {status}"));
        let input = json!({ "name": "Bea", "position": "Guard" });
        one.post("/guards", input).await.problem(code, status);
    }
}

/// Everything of an answer that may differ, without the host's name and the time.
fn alike(answer: Answer, host: &str) -> (u16, HeaderMap, String) {
    let Answer { status, mut headers, text } = answer;
    headers.remove("date");
    // Both names have the same length.
    (status, headers, text.replace(host, "HOST"))
}
