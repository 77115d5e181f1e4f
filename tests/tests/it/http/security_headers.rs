//! Headers that make browsers careful with every answer.

use serde_json::json;

use super::{Answer, Site, heard};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN},
};

#[tokio::test]
async fn every_answer_has_the_headers_that_make_browsers_careful() {
    let (site, one, _) = Site::with_tenants().await;
    let guard = json!({ "name": "Abu", "position": "Gate" });
    let long = vec![b' '; 70_000];
    let answers = [
        one.get("/guards").await.is(200),
        one.post("/guards", guard).await.is(201),
        one.post("/guards", json!({})).await.is(422),
        one.get("/nowhere").await.is(404),
        heard(one.request("PUT", "/guards")).await.is(405),
        heard(one.request("POST", "/guards").body(long)).await.is(413),
        site.caller("unknown.example.org").get("/guards").await.is(404),
        site.caller("www.localhost").get("/guards").await.is(421),
        site.caller("localhost").get("/admin/tenants").await.is(401),
        heard(site.operator("GET", "/admin/tenants")).await.is(200),
        site.caller("localhost").get("/health").await.is(204),
        site.raw(&["GET /guards HTTP/1.1"], b"").await.is(400),
    ];
    for answer in &answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(answer.header("content-security-policy"), policy);
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("cache-control"), "no-store");
        // Only a service that is reached by HTTPS may send it.
        assert!(!answer.headers.contains_key("strict-transport-security"), "{answer:#?}");
        no_cors(answer);
    }
}

#[tokio::test]
async fn strict_transport_security_is_sent_if_it_is_configured() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_HSTS", "31536000");
    let site = Site { serving: HttpServer::launch(&mut command), db };
    for answer in [
        heard(site.operator("GET", "/admin/tenants")).await.is(200),
        site.caller("nowhere.localhost").get("/guards").await.is(404),
    ] {
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    }
}

fn no_cors(answer: &Answer) {
    for name in answer.headers.keys() {
        assert!(!name.as_str().starts_with("access-control-"), "{answer:#?}");
    }
}
