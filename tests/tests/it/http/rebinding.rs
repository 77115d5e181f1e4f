//! Pages on the web that make a browser send requests to a server that only this machine reaches.

use serde_json::json;

use super::{Site, heard};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN},
    process::Ran,
};

const FOREIGN: [&str; 9] = [
    "evil.example",
    "evil.example:3000",
    "127.0.0.1",
    "127.0.0.1:3000",
    "[::1]:3000",
    "0.0.0.0",
    "localhost.evil.example",
    "x.tenant-1.localhost",
    "",
];

/// The page's host name is resolved to the server's address, so requests have that name.
#[tokio::test]
async fn no_route_is_reached_by_a_host_that_does_not_belong_to_the_service() {
    let (site, one, _) = Site::with_tenants().await;
    one.guard("Abu", "Gate").await;
    for host in FOREIGN {
        let foreign = site.caller(host);
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/guards"),
            ("POST", "/guards"),
            ("PUT", "/guards"),
            ("OPTIONS", "/guards"),
            ("GET", "/nowhere"),
            ("GET", "/admin/tenants"),
            ("POST", "/admin/tenants"),
            ("DELETE", "/admin/tenants/tenant-1"),
        ] {
            let request = foreign.request(method, path).bearer_auth(TOKEN);
            let answer = heard(request.json(&json!({ "slug": "tenant-3" }))).await;
            let problem = answer.problem(404, "unknown-host");
            assert_eq!(problem["detail"], format!("no tenant found for host {host:?}"));
        }
        // Probes of a load balancer name an address.
        foreign.get("/health").await.is(204);
    }
    assert_eq!(
        site.stored("SELECT slug FROM registry.tenants ORDER BY 1").await,
        ["tenant-1", "tenant-2"]
    );
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn hosts_that_are_allowed_reach_the_routes_but_no_tenant() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command
        .env("TENANTRY_ADMIN_TOKEN", TOKEN)
        .env("TENANTRY_ALLOW_HOST", "Gateway.internal,127.0.0.1,[::1]");
    let site = Site { serving: HttpServer::launch(&mut command), db };
    for host in ["gateway.internal", "GATEWAY.internal.:3000", "127.0.0.1:80", "[::1]:3000"] {
        let caller = site.caller(host);
        caller.get("/nowhere").await.problem(404, "no-such-path");
        caller.get("/guards").await.problem(404, "unknown-host");
        let admin = caller.request("GET", "/admin/tenants").bearer_auth(TOKEN);
        heard(admin).await.problem(404, "no-such-path");
    }
    site.caller("127.0.0.2").get("/nowhere").await.problem(404, "unknown-host");
}

#[tokio::test]
async fn options_that_would_have_no_effect_are_refused() {
    // Not reached, so the database need not exist.
    let url = "postgres://localhost:1/none";
    let run = |words: &[&str]| Ran::of(HttpServer::command(url).args(words)).exits(2);
    for host in ["127.0.0.1:3000", "http://gateway", "*.internal", "a,,b", "gateway/"] {
        run(&["--allow-host", host]).complains(["--allow-host", "without a port"]);
    }
    run(&["--client-address-header", "Forwarded"]).complains(["X-Forwarded-For"]);
    run(&["--client-address-header", "x forwarded"]);
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let (site, one, _) = Site::with_tenants().await;
    let path = one.guard("Abu", "Gate").await;
    let guard = json!({ "name": "Eve", "position": "Gate" });
    let foreign: [&[(&str, &str)]; 6] = [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        // Another tenant's page is of the same site.
        &[("sec-fetch-site", "same-site"), ("origin", "http://tenant-2.localhost")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://tenant-2.localhost")],
        &[("origin", "null")],
    ];
    for headers in foreign {
        for (caller, method, path) in [
            (&one, "POST", "/guards"),
            (&one, "PATCH", &*path),
            (&one, "DELETE", &*path),
            (&one, "POST", "/nowhere"),
            (&site.caller("localhost"), "POST", "/admin/tenants"),
            (&site.caller("localhost"), "DELETE", "/admin/tenants/tenant-1"),
        ] {
            let mut request = caller.request(method, path).bearer_auth(TOKEN).json(&guard);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            heard(request).await.problem(403, "cross-origin");
        }
    }
    assert_eq!(one.names("/guards").await, ["Abu"]);
    // Pages of the tenant itself, with and without the port, and programs.
    for headers in [
        &[("sec-fetch-site", "same-origin"), ("origin", "http://tenant-1.localhost")][..],
        &[("origin", "http://tenant-1.localhost")],
        &[("origin", "https://tenant-1.localhost:443")],
        &[],
    ] {
        let mut request = one.request("POST", "/guards").json(&guard);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        heard(request).await.is(201);
    }
    // Reading changes nothing; the browser does not show the answer to the page.
    let read = one.request("GET", "/guards").header("sec-fetch-site", "cross-site");
    let read = heard(read.header("origin", "https://evil.example")).await.is(200);
    assert!(!read.headers.contains_key("access-control-allow-origin"), "{read:#?}");
}
