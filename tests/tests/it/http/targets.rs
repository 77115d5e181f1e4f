//! Which host a request is for, when it says so more than once or in an odd way.

use axum::http::{Request, Version};

use super::{Answer, Site, names};
use crate::support::http2::Http2;

#[tokio::test]
async fn a_target_with_a_host_and_the_host_header_must_agree() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    two.guard("Bea", "Guard").await;
    for (target, host, found) in [
        // RFC 9112, 3.2.2: what a proxy is sent.
        ("http://tenant-1.localhost/guards", "tenant-1.localhost", "Abu"),
        ("http://TENANT-1.localhost.:80/guards", "tenant-1.LOCALHOST", "Abu"),
        ("https://tenant-2.localhost:443/guards", "tenant-2.localhost.", "Bea"),
        ("HTTP://tenant-2.localhost:3000/guards", "tenant-2.localhost:3000", "Bea"),
    ] {
        let head = [&format!("GET {target} HTTP/1.1")[..], &format!("host: {host}")];
        let page = site.raw(&head, b"").await.is(200).json();
        assert_eq!(names(&page), [found], "{target}");
    }
    for (target, host) in [
        ("http://tenant-1.localhost/guards", "host: tenant-2.localhost"),
        ("http://tenant-1.localhost/guards", "host: tenant-1.localhost, tenant-2.localhost"),
        ("http://tenant-1.localhost/guards", "host: localhost"),
        ("http://tenant-1.localhost/guards", "host:"),
        ("http://tenant-1.localhost/guards", "accept: */*"),
        ("http://tenant-1.localhost/guards", "host: tenant-1.localhost:3000"),
        ("http://tenant-1.localhost:3000/guards", "host: tenant-1.localhost:4000"),
        (
            "http://tenant-1.localhost/guards",
            "host: tenant-1.localhost\r\nHost: tenant-1.localhost",
        ),
        ("http://tenant-2.localhost@tenant-1.localhost/guards", "host: tenant-1.localhost"),
        ("http://tenant-1.localhost/health", "host: tenant-2.localhost"),
        ("http://localhost/admin/tenants", "host: tenant-1.localhost"),
        ("http://[::1]/guards", "host: tenant-1.localhost"),
        ("ftp://tenant-1.localhost/guards", "host: tenant-1.localhost"),
        ("file://tenant-1.localhost/guards", "host: tenant-1.localhost"),
        ("tenant-1.localhost:80", "host: tenant-1.localhost"),
    ] {
        let answer = site.raw(&[&format!("GET {target} HTTP/1.1"), host], b"").await;
        refused(&answer, &format!("{target} {host}"));
    }
}

#[tokio::test]
async fn a_host_header_that_is_not_one_host_is_400() {
    let (site, one, _) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    for host in [
        "tenant-1.localhost, tenant-2.localhost",
        "tenant-1.localhost,",
        "tenant-1.localhost tenant-2.localhost",
        "user@tenant-1.localhost",
        "tenant-2.localhost:80@tenant-1.localhost",
        "http://tenant-1.localhost",
        "tenant-1.localhost/guards",
        "tenant-1.localhost#",
        "tenant-1.localhost?x",
        "tenant-1.localhost\\",
        "\"tenant-1.localhost\"",
        "[::1",
        "[tenant-1.localhost]",
        "[::1]tenant-1.localhost",
    ] {
        for path in ["/guards", "/admin/tenants", "/health", "/nowhere"] {
            let head = [&format!("GET {path} HTTP/1.1")[..], &format!("host: {host}")];
            refused(&site.raw(&head, b"").await, host);
        }
    }
    for head in [
        &["GET /health HTTP/1.1"][..],
        &["GET /health HTTP/1.1", "host: tenant-1.localhost", "host: tenant-1.localhost"],
        &["GET /nowhere HTTP/1.1"],
    ] {
        refused(&site.raw(head, b"").await, &head.join(" "));
    }
    // A load balancer that asks for the state of the service in HTTP/1.0 may name no host.
    site.raw(&["GET /health HTTP/1.0"], b"").await.is(204);
}

#[tokio::test]
async fn targets_that_are_neither_a_path_nor_a_url_lead_nowhere() {
    let (site, one, _) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    for line in [
        "GET //tenant-1.localhost/guards HTTP/1.1",
        "GET /http://tenant-1.localhost/guards HTTP/1.1",
        "GET http://tenant-1.localhost HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT tenant-1.localhost HTTP/1.1",
        "CONNECT tenant-1.localhost:80 HTTP/1.1",
        "CONNECT /guards HTTP/1.1",
        "GET tenant-1.localhost HTTP/1.1",
        "GET guards HTTP/1.1",
        "GET http:///guards HTTP/1.1",
        "GET http:/guards HTTP/1.1",
        "GET ?limit=1 HTTP/1.1",
        "GET /guards\u{e4} HTTP/1.1",
    ] {
        for host in ["tenant-1.localhost", "tenant-1.localhost:80"] {
            let answer = site.raw(&[line, &format!("host: {host}")], b"").await;
            assert!((400..500).contains(&answer.status), "{line}: {answer:#?}");
            assert!(!answer.text.contains("Abu"), "{line}: {answer:#?}");
        }
    }
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn over_http_2_the_authority_is_the_host_and_a_host_header_must_agree() {
    let (site, one, two) = Site::with_tenants().await;
    one.guard("Abu", "Guard").await;
    two.guard("Bea", "Guard").await;
    let client = Http2::connect(site.serving.address()).await;
    let ask = async |uri: &str, hosts: &[&str]| {
        // A path alone is only sent for a request that was HTTP/1.1 before.
        let version = if uri.starts_with('/') { Version::HTTP_11 } else { Version::HTTP_2 };
        let mut request = Request::get(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        let heard = client.ask(request.body(()).unwrap()).await;
        Answer { status: heard.status, headers: heard.headers, text: heard.text }
    };
    for (uri, hosts, found) in [
        ("http://tenant-1.localhost/guards", &[][..], "Abu"),
        ("http://tenant-2.localhost:3000/guards", &[], "Bea"),
        ("https://tenant-2.localhost/guards", &["TENANT-2.localhost.:443"], "Bea"),
        ("/guards", &["tenant-1.localhost"], "Abu"),
    ] {
        let page = ask(uri, hosts).await.is(200).json();
        assert_eq!(names(&page), [found], "{uri} {hosts:?}");
    }
    for (uri, hosts) in [
        ("http://tenant-1.localhost/guards", &["tenant-2.localhost"][..]),
        ("http://tenant-1.localhost/guards", &["tenant-1.localhost", "tenant-2.localhost"]),
        ("http://tenant-1.localhost/guards", &["tenant-1.localhost,tenant-2.localhost"]),
        ("http://tenant-1.localhost:3000/guards", &["tenant-1.localhost:4000"]),
        ("http://user@tenant-1.localhost/guards", &[]),
        ("http://tenant-1.localhost,tenant-2.localhost/guards", &[]),
        ("ftp://tenant-1.localhost/guards", &[]),
        ("/guards", &["tenant-1.localhost", "tenant-1.localhost"]),
        ("/guards", &[]),
    ] {
        refused(&ask(uri, hosts).await, &format!("{uri} {hosts:?}"));
    }
    for uri in ["http://tenant-3.localhost/guards", "http://[::1]:3000/guards"] {
        ask(uri, &[]).await.problem(404, "unknown-host");
    }
}

#[track_caller]
fn refused(answer: &Answer, case: &str) {
    let problem = answer.problem(400, "malformed");
    let detail = problem["detail"].as_str().unwrap();
    let host = ["host", "Host"].iter().any(|word| detail.contains(word));
    assert!(host || detail.contains("scheme"), "{case}: {detail}");
}
