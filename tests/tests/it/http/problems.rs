//! Every refusal is a problem document (RFC 9457).

use serde_json::json;

use super::{Answer, Caller, Site, heard};

const ID: &str = "01a208c3-96c5-77c7-976d-0f6c9d7c9f9e";

#[tokio::test]
async fn a_path_that_leads_nowhere_is_404_for_every_method() {
    let (_site, one, _) = Site::with_tenants().await;
    for path in [
        "/",
        "/guard",
        "/guards/",
        "//guards",
        "/Guards",
        "/guards/x/y/z",
        "/admin",
        "/admin/tenants/x/y",
        "/guards%2Fx",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = heard(one.request(method, path)).await;
            answer.problem(404, "no-such-path");
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_405_and_the_others_are_listed() {
    let (_site, one, _) = Site::with_tenants().await;
    for (method, path, allowed) in [
        ("PUT", "/guards", "GET,HEAD,POST"),
        ("DELETE", "/guards", "GET,HEAD,POST"),
        ("POST", "/guards/x", "DELETE,GET,HEAD,PATCH"),
        ("PATCH", "/guards/x/shifts", "GET,HEAD,POST"),
        ("POST", "/shifts", "GET,HEAD"),
        ("PUT", "/shifts/x", "DELETE,GET,HEAD,PATCH"),
        ("DELETE", "/admin/tenants", "GET,HEAD,POST"),
        ("PUT", "/admin/tenants/x", "DELETE,GET,HEAD,PATCH"),
        ("POST", "/health", "GET,HEAD"),
    ] {
        let answer = heard(one.request(method, path)).await;
        let problem = answer.problem(405, "method-not-allowed");
        assert!(problem["detail"].is_string(), "{problem}");
        let mut allow: Vec<&str> = answer.header("allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_say_it_is_json_is_415() {
    let (_site, one, _) = Site::with_tenants().await;
    let path = one.guard("Abu", "Guard").await;
    let body = r#"{"name":"Bea","position":"Guard"}"#;
    for kind in [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "json",
    ] {
        for (method, path) in [("POST", "/guards"), ("PATCH", &path)] {
            let request = one.request(method, path).body(body);
            let answer = heard(request.header("content-type", kind)).await;
            let problem = answer.problem(415, "unsupported-media-type");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("application/json"), "{problem}");
        }
    }
    let answer = heard(one.request("POST", "/guards").body(body)).await;
    answer.problem(415, "unsupported-media-type");
    for kind in
        ["application/json", "Application/JSON; charset=utf-8", "application/vnd.guard+json"]
    {
        let request = one.request("POST", "/guards").body(body);
        heard(request.header("content-type", kind)).await.is(201);
    }
}

#[tokio::test]
async fn a_body_of_more_than_64_kibibytes_is_413() {
    let (site, one, _) = Site::with_tenants().await;
    // Valid JSON, padded to a length.
    let body = |length: usize| {
        let json = r#"{"name":"Abu","position":"Guard"}"#;
        json.to_owned() + &" ".repeat(length - json.len())
    };
    send(&one, body(64 * 1024)).await.is(201);
    let problem = send(&one, body(64 * 1024 + 1)).await.problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains("65536"), "{problem}");

    // A body without a Content-Length.
    let chunk = body(64 * 1024 + 1);
    let chunked = format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
    let head = [
        "POST /guards HTTP/1.1",
        "host: tenant-1.localhost",
        "content-type: application/json",
        "transfer-encoding: chunked",
    ];
    let answer = site.raw(&head, chunked.as_bytes()).await;
    answer.problem(413, "too-large");
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400() {
    let (_site, one, _) = Site::with_tenants().await;
    for body in [
        "",
        " ",
        "name=Abu",
        r#"{"name":"Abu""#,
        r#"{"name":"Abu","position":"Guard"},"#,
        r#"{"name":"Abu","position":"Guard"} {}"#,
        r#"{"name":"Abu","position":"Guard",}"#,
        r#"{'name':'Abu','position':'Guard'}"#,
        r#"{"name":"\ud800","position":"Guard"}"#,
        "\u{feff}{}",
    ] {
        let problem = send(&one, body.to_owned()).await.problem(400, "malformed");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("the body is not JSON: "), "{detail}");
    }
    let not_text = b"{\"name\":\"\xff\",\"position\":\"Guard\"}";
    send(&one, not_text.to_vec()).await.problem(400, "malformed");
    assert!(one.names("/guards").await.is_empty());
}

#[tokio::test]
async fn json_that_is_no_object_is_400() {
    let (_site, one, _) = Site::with_tenants().await;
    let path = one.guard("Abu", "Guard").await;
    for body in [json!(["Bea", "Guard"]), json!("Bea"), json!(1), json!(null)] {
        for answer in [
            one.post("/guards", body.clone()).await,
            one.patch(&path, body.clone()).await,
            one.post(&format!("{path}/shifts"), body.clone()).await,
        ] {
            let problem = answer.problem(400, "malformed");
            assert_eq!(problem["detail"], "the body must be a JSON object");
        }
    }
    assert_eq!(one.names("/guards").await, ["Abu"]);
}

#[tokio::test]
async fn a_path_with_an_id_that_is_none_is_400() {
    let (_site, one, _) = Site::with_tenants().await;
    let change = json!({ "name": "Abu" });
    for id in ["1", "not-a-uuid", &ID[1..], "%00", "%ff", "'; DROP TABLE guards"] {
        let (guard, shift) = (format!("/guards/{id}"), format!("/shifts/{id}"));
        for answer in [
            one.get(&guard).await,
            one.patch(&guard, change.clone()).await,
            one.delete(&guard).await,
            one.get(&format!("{guard}/shifts")).await,
            one.get(&shift).await,
            one.delete(&shift).await,
        ] {
            answer.problem(400, "malformed");
        }
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_400_and_names_the_parameter() {
    let (_site, one, _) = Site::with_tenants().await;
    for (query, parameter) in [
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("after=1", "after"),
        ("count=perhaps", "count"),
    ] {
        for path in ["/guards", "/shifts"] {
            let answer = one.get(&format!("{path}?{query}")).await;
            let problem = answer.problem(400, "malformed");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(parameter), "{query}: {detail}");
        }
    }
    for query in ["guard_id=1", "from=yesterday", "until=2026-11-23"] {
        let answer = one.get(&format!("/shifts?{query}")).await;
        answer.problem(400, "malformed");
    }
}

#[tokio::test]
async fn the_state_of_the_service_can_be_asked_on_any_host() {
    let site = Site::new().await;
    for host in ["localhost", "127.0.0.1", "unknown.example.org"] {
        assert_eq!(site.caller(host).get("/health").await.is(204).text, "");
    }
}

async fn send(caller: &Caller, body: impl Into<reqwest::Body>) -> Answer {
    let request = caller.request("POST", "/guards").body(body);
    heard(request.header("content-type", "application/json")).await
}
