//! Pages of other origins, if a tenant allows them.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Answer, Caller, Site, fields, heard};
use crate::support::{http_server::eventually, process::Ran};

const APP: &str = "https://app.example.org";

#[tokio::test]
async fn pages_of_an_allowed_origin_call_one_tenant_and_no_other() {
    let (site, one, two) = Site::with_tenants().await;
    // Without a setting nothing is allowed.
    preflight(&one, APP, "POST").await.problem(405, "method-not-allowed");
    allow(&site, json!([APP])).await.is(200);
    let answer = preflight(&one, APP, "DELETE").await.is(204);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.header("access-control-allow-methods"), "DELETE");
    assert_eq!(answer.header("access-control-allow-headers"), "authorization,content-type");
    assert!(answer.header("vary").contains("origin"));
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));

    let guard = json!({ "name": "Abu", "position": "Gate" });
    let post = one.request("POST", "/guards").json(&guard);
    let answer = from_page(post, APP).await.is(201);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert!(answer.header("access-control-expose-headers").contains("location"));
    // Pages can read errors.
    for (request, status) in [
        (one.request("GET", "/nowhere"), 404),
        (one.request("PUT", "/guards"), 405),
        (one.request("POST", "/guards").json(&json!({})), 422),
        (one.request("POST", "/guards").body(vec![b' '; 70_000]), 413),
    ] {
        let answer = from_page(request, APP).await.is(status);
        assert_eq!(answer.header("access-control-allow-origin"), APP);
        assert_eq!(answer.header("vary"), "origin");
    }
    // Also an answer without the header differs by origin.
    let plain = one.get("/guards").await.is(200);
    assert!(plain.headers.get_all("vary").iter().any(|it| it == "origin"), "{plain:#?}");
    assert!(!plain.headers.contains_key("access-control-allow-origin"));

    for origin in ["http://app.example.org", "https://app.example.org:8443", "null", "*"] {
        denied(&one, origin).await;
    }
    denied(&two, APP).await;
    denied(&site.caller("localhost"), APP).await;
    assert_eq!(one.names("/guards").await, ["Abu"]);
    assert!(two.names("/guards").await.is_empty());
}

#[tokio::test]
async fn a_change_of_the_origins_counts_in_every_server_at_once() {
    let (site, one, _) = Site::with_tenants().await;
    let url = site.db.url();
    let update = |arguments: &[&str]| {
        let all = [&["tenant", "update", "tenant-1"], arguments].concat();
        Ran::on("tenantry", &url, &all)
    };
    let allowed = async |origin: &str| {
        let answer = from_page(one.request("GET", "/guards"), origin).await;
        answer.headers.contains_key("access-control-allow-origin")
    };
    let dev = "http://localhost:5173";
    update(&["--cors-origin", "HTTPS://App.Example.org:443", "--cors-origin", dev])
        .exits(0)
        .says([APP, dev]);
    eventually("the origins are known", async || allowed(APP).await).await;
    assert!(allowed(dev).await);
    update(&["--name", "Acme"]).exits(0).says([APP]);
    update(&["--clear-cors-origins"]).exits(0);
    eventually("they are forgotten", async || !allowed(APP).await).await;
    for wrong in ["*", "null", "app.example.org", "https://app.example.org/path"] {
        update(&["--cors-origin", wrong]).exits(2).complains(["origin"]);
    }
    assert_eq!(site.stored("SELECT cors_origins::text FROM registry.tenants").await, ["{}", "{}"]);
}

#[tokio::test]
async fn origins_are_validated_and_shown() {
    let (site, ..) = Site::with_tenants().await;
    let answer = allow(&site, json!([APP, "*", "null", "https://a.test/"])).await;
    let wrong = [1, 2, 3].map(|index| (format!("cors_origins[{index}]"), "origin".to_owned()));
    assert_eq!(answer.invalid(), wrong);
    let many: Vec<String> = (0..51).map(|it| format!("https://app-{it}.test")).collect();
    assert_eq!(allow(&site, json!(many)).await.invalid(), fields([("cors_origins", "length")]));
    let null = allow(&site, Value::Null).await;
    assert_eq!(null.invalid(), fields([("cors_origins", "type")]));
    let changed = allow(&site, json!(["https://b.test", APP, "HTTPS://B.test:443"])).await.is(200);
    assert_eq!(changed.json()["cors_origins"], json!([APP, "https://b.test"]));
    let shown = heard(site.operator("GET", "/admin/tenants/tenant-1")).await.is(200).json();
    assert_eq!(shown["cors_origins"], json!([APP, "https://b.test"]));
    assert_eq!(allow(&site, json!([])).await.is(200).json()["cors_origins"], json!([]));
}

async fn allow(site: &Site, origins: Value) -> Answer {
    let change = json!({ "cors_origins": origins });
    heard(site.operator("PATCH", "/admin/tenants/tenant-1").json(&change)).await
}

/// What a browser asks before it sends a request of a page.
async fn preflight(caller: &Caller, origin: &str, method: &str) -> Answer {
    let request = caller
        .request("OPTIONS", "/guards")
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type");
    from_page(request, origin).await
}

async fn from_page(request: RequestBuilder, origin: &str) -> Answer {
    heard(request.header("origin", origin).header("sec-fetch-site", "cross-site")).await
}

async fn denied(caller: &Caller, origin: &str) {
    let guard = json!({ "name": "Eve", "position": "Gate" });
    for answer in [
        preflight(caller, origin, "POST").await,
        from_page(caller.request("POST", "/guards").json(&guard), origin).await.is(403),
        from_page(caller.request("GET", "/guards"), origin).await,
    ] {
        let allowed = answer.headers.contains_key("access-control-allow-origin");
        assert!(!allowed, "{origin}: {answer:#?}");
    }
}
