//! The tenant comes from the `Host` and nothing else.

use serde_json::json;

use super::{Site, heard, names};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN},
};

#[tokio::test]
async fn the_host_leads_to_its_tenant_however_it_is_written() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    two.guard("Bea", "Guard").await;
    for (host, name) in [
        ("tenant-1.localhost", "Abu"),
        ("tenant-1.localhost:3000", "Abu"),
        ("tenant-1.localhost.", "Abu"),
        ("TENANT-1.LocalHost.:80", "Abu"),
        ("tenant-2.localhost", "Bea"),
    ] {
        assert_eq!(site.caller(host).names("/guards").await, [name], "{host}");
    }
}

#[tokio::test]
async fn a_host_that_is_no_tenant_is_404_and_named() {
    let (site, one, _) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    for host in [
        // The base domain is the operator's.
        "localhost",
        "tenant-3.localhost",
        "tenant_1.localhost",
        "x.tenant-1.localhost",
        "tenant-1.localhost.example.org",
        "tenant-1",
        "tenant-1.localhosts",
        "unknown.example.org",
        "127.0.0.1",
        "[::1]:3000",
        "tenant-1.localhost:http",
        "tenant-1.localhost..",
        "",
    ] {
        let answer = site.caller(host).get("/guards").await;
        let problem = answer.problem(404, "unknown-host");
        let detail = format!("no tenant found for host {host:?}");
        assert_eq!(problem["detail"], detail);
    }
}

#[tokio::test]
async fn a_reserved_host_is_421() {
    let site = Site::new().await;
    for host in ["www.localhost", "ADMIN.localhost:3000", "api.localhost", "pg-1.localhost"] {
        let answer = site.caller(host).get("/guards").await;
        let problem = answer.problem(421, "reserved-host");
        assert!(problem["detail"].as_str().unwrap().contains(host), "{problem}");
    }
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_400() {
    let (site, ..) = Site::with_tenants().await;
    let tenant_1 = "host: tenant-1.localhost";
    let heads: [&[&str]; 6] = [
        &["GET /guards HTTP/1.1"],
        &["GET /guards HTTP/1.0"],
        &["GET /guards HTTP/1.1", tenant_1, "host: tenant-2.localhost"],
        &["GET /guards HTTP/1.1", tenant_1, tenant_1],
        &["GET /guards HTTP/1.1", "host: tenant-1.localhost\u{e4}"],
        &["GET /admin/tenants HTTP/1.1"],
    ];
    for head in heads {
        let problem = site.raw(head, b"").await.problem(400, "malformed");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("Host header"), "{head:?}: {detail}");
    }
    // HTTP/1.0 knew the header, if only by custom.
    let answer = site.raw(&["GET /guards HTTP/1.0", tenant_1], b"").await;
    answer.is(200);
}

#[tokio::test]
async fn no_other_header_leads_to_a_tenant() {
    let (_site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    two.guard("Bea", "Guard").await;
    for (name, value) in [
        ("x-forwarded-host", "tenant-2.localhost"),
        ("forwarded", "host=tenant-2.localhost"),
        ("x-original-host", "tenant-2.localhost"),
        ("x-tenant", "tenant-2"),
        ("origin", "http://tenant-2.localhost"),
    ] {
        let request = one.request("GET", "/guards?tenant=tenant-2");
        let page = heard(request.header(name, value)).await.is(200).json();
        assert_eq!(names(&page), ["Abu"], "{name}");
    }
}

#[tokio::test]
async fn the_base_domain_can_be_any() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_BASE_DOMAIN", "Guards.Example.org").env("TENANTRY_ADMIN_TOKEN", TOKEN);
    let serving = HttpServer::launch(&mut command);
    let site = Site { serving, db };
    let operator = site.caller("guards.example.org");
    let create = operator
        .request("POST", "/admin/tenants")
        .bearer_auth(TOKEN)
        .json(&json!({ "slug": "tenant-1" }));
    heard(create).await.is(201);
    let tenant = site.caller("tenant-1.guards.example.org");
    tenant.get("/guards").await.is(200);
    let elsewhere = site.caller("tenant-1.localhost");
    elsewhere.get("/guards").await.problem(404, "unknown-host");
}
