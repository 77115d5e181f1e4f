//! `/admin/tenants`, and who may use it.

use serde_json::{Value, json};

use super::{Answer, Site, fields, heard};
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    http_server::{HttpServer, TOKEN},
    process::Ran,
};

#[tokio::test]
async fn requires_the_admin_token() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    // Each request from another address: one that has failed often has to wait.
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_CLIENT_ADDRESS_HEADER", "x-client");
    let site = Site { serving: HttpServer::launch(&mut command), db };
    site.create("tenant-1").await;
    let base = site.caller("localhost");
    let mut client = 0;
    let mut ask = |method: &str, path: &str| {
        client += 1;
        base.request(method, path).header("x-client", format!("192.0.2.{client}"))
    };
    let wrong = [
        String::new(),
        TOKEN.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer wrong-but-long-enough".to_owned(),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Basic {TOKEN}"),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
    ];
    for (method, path) in [
        ("GET", "/admin/tenants"),
        // Refused before the body is looked at.
        ("POST", "/admin/tenants"),
        ("GET", "/admin/tenants/tenant-1"),
        ("PATCH", "/admin/tenants/tenant-1"),
        ("DELETE", "/admin/tenants/tenant-1"),
        // The answer does not reveal which tenants exist.
        ("GET", "/admin/tenants/tenant-2"),
    ] {
        let refused = |answer: Answer, challenge: &str| {
            answer.problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), challenge);
        };
        refused(heard(ask(method, path)).await, "Bearer");
        for authorization in &wrong {
            let request = ask(method, path).header("authorization", authorization);
            refused(heard(request).await, r#"Bearer error="invalid_token""#);
        }
        let twice = ask(method, path).bearer_auth(TOKEN).bearer_auth(TOKEN);
        refused(heard(twice).await, r#"Bearer error="invalid_token""#);
    }
    let request = base.request("GET", "/admin/tenants");
    let any_case = format!("bEARER {TOKEN}");
    heard(request.header("authorization", any_case)).await.is(200);
}

#[tokio::test]
async fn without_a_token_no_text_is_one_and_the_log_says_how_to_open_the_admin_api() {
    let db = TestDb::new().await;
    // A variable that is empty counts as unset.
    let mut command = HttpServer::command(&db.url());
    command.envs(["TENANTRY_ADMIN_TOKEN", "TENANTRY_BASE_DOMAIN", "RUST_LOG"].map(|it| (it, "")));
    let serving = HttpServer::launch(&mut command);
    let site = Site { serving, db };
    for request in [
        site.caller("localhost").request("GET", "/admin/tenants"),
        site.operator("GET", "/admin/tenants"),
        site.operator("POST", "/admin/tenants"),
        site.operator("DELETE", "/admin/tenants/tenant-1"),
    ] {
        heard(request).await.problem(401, "unauthorized");
    }
    let log = site.serving.stderr();
    assert!(log.contains("key create --operator") && log.contains("TENANTRY_ADMIN_TOKEN"), "{log}");
}

#[tokio::test]
async fn a_token_that_is_too_short_is_refused_before_anything_is_served() {
    // Not reached, so the database need not exist.
    let url = "postgres://localhost:1/none";
    for token in ["short", "with a blank in the middle of it"] {
        let ran = Ran::of(HttpServer::command(url).env("TENANTRY_ADMIN_TOKEN", token));
        let ran = ran.exits(1).complains(["TENANTRY_ADMIN_TOKEN", "16 characters"]);
        assert_eq!(ran.stdout, "", "it greeted first");
        assert!(!ran.stderr.contains(token), "{ran:?}");
    }
}

#[tokio::test]
async fn the_operators_routes_are_on_the_base_domain_only() {
    let site = Site::new().await;
    site.create("tenant-1").await;
    for (host, kind) in [
        ("tenant-1.localhost", "no-such-path"),
        ("www.localhost", "no-such-path"),
        ("unknown.example.org", "unknown-host"),
        ("127.0.0.1", "unknown-host"),
    ] {
        for (method, path) in [
            ("GET", "/admin/tenants"),
            ("POST", "/admin/tenants"),
            ("GET", "/admin/tenants/tenant-1"),
            ("PATCH", "/admin/tenants/tenant-1"),
            ("DELETE", "/admin/tenants/tenant-1"),
        ] {
            let request = site.caller(host).request(method, path);
            let answer = heard(request.bearer_auth(TOKEN)).await;
            answer.problem(404, kind);
        }
    }
    heard(site.operator("GET", "/admin/tenants/tenant-1")).await.is(200);
}

#[tokio::test]
async fn a_taken_slug_or_host_name_is_409_and_nothing_is_changed() {
    let site = Site::new().await;
    let domains = json!({ "slug": "tenant-1", "domains": ["guards.example.org"] });
    create(&site, domains).await.is(201);
    let taken = create(&site, json!({ "slug": "tenant-1" })).await;
    let problem = taken.problem(409, "slug-taken");
    assert!(problem["detail"].as_str().unwrap().contains("tenant-1"), "{problem}");

    let same = json!({ "slug": "tenant-2", "domains": ["Guards.Example.org."] });
    let problem = create(&site, same).await.problem(409, "host-taken");
    assert!(problem["detail"].as_str().unwrap().contains("guards.example.org"), "{problem}");

    let db = site.db.plain().await;
    super::execute(&db, "CREATE SCHEMA left_over").await;
    let problem = create(&site, json!({ "slug": "left-over" })).await;
    let problem = problem.problem(409, "schema-taken");
    assert!(problem["detail"].as_str().unwrap().contains("left_over"), "{problem}");

    let slugs = texts(&db, "SELECT slug FROM registry.tenants").await;
    assert_eq!(slugs, ["tenant-1"]);
    assert_eq!(schemas(&db).await, ["left_over", "public", "registry", "tenant_1"]);
}

#[tokio::test]
async fn a_tenant_that_is_not_valid_is_422_with_every_field() {
    let site = Site::new().await;
    let long = "a".repeat(49);
    for slug in ["", "Tenant", "tenant_1", "-st", "end-", "www", "pg-1", "a.b", "é", &long] {
        let answer = create(&site, json!({ "slug": slug })).await;
        assert_eq!(answer.invalid(), fields([("slug", "slug")]), "{slug}");
        let message = &answer.json()["errors"][0]["message"];
        let message = message.as_str().unwrap();
        assert!(message.starts_with(&format!("slug {slug:?} is refused: ")), "{message}");
    }
    for (input, wanted) in [
        (json!({}), vec![("slug", "required")]),
        (json!({ "slug": null }), vec![("slug", "required")]),
        (json!({ "slug": 1 }), vec![("slug", "type")]),
        (json!({ "slug": "a", "schema": "b" }), vec![("schema", "unknown")]),
        (
            json!({ "slug": 1, "domains": ["localhost"], "schema": "b" }),
            vec![("domains[0]", "host_name"), ("schema", "unknown"), ("slug", "type")],
        ),
        (
            json!({ "slug": "No", "domains": ["a.example.org", 1] }),
            vec![("domains[1]", "type"), ("slug", "slug")],
        ),
        (
            json!({ "slug": "No", "domains": ["a.example.org", "localhost", "b.example.org:80"] }),
            vec![("domains[1]", "host_name"), ("domains[2]", "host_name"), ("slug", "slug")],
        ),
        (
            json!({ "slug": "a", "name": "two\nlines", "tags": ["eu", "Not A Tag"] }),
            vec![("name", "name"), ("tags[1]", "tag")],
        ),
        (json!({ "slug": "a", "name": 1, "tags": "eu" }), vec![("name", "type"), ("tags", "type")]),
        (json!({ "slug": "a", "tags": vec!["eu"; 51] }), vec![("tags", "length")]),
    ] {
        let wanted: Vec<_> = wanted.into_iter().map(|it| fields([it])).collect();
        let answer = create(&site, input.clone()).await;
        assert_eq!(answer.invalid(), wanted.concat(), "{input}");
    }
    // Well formed, but in the place of a tenant's own name.
    let below = json!({ "slug": "tenant-1", "domains": ["tenant-2.localhost"] });
    create(&site, below).await.problem(422, "invalid-name");
    // A good slug whose schema would be a word of SQL.
    let word = create(&site, json!({ "slug": "select" })).await;
    word.problem(422, "invalid-name");
    assert_eq!(schemas(&site.db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn name_tags_and_metadata_of_a_tenant_are_changed() {
    let site = Site::new().await;
    let input = json!({ "slug": "tenant-1", "name": "Acme", "tags": ["eu"],
        "metadata": { "plan": "free", "seats": 3 } });
    let created = create(&site, input).await.is(201).json();
    assert_eq!(created["metadata"], json!({ "plan": "free", "seats": 3 }));
    let change = async |body: Value| {
        heard(site.operator("PATCH", "/admin/tenants/tenant-1").json(&body)).await
    };
    let changed = change(json!({ "metadata": { "plan": "gold", "seats": null } })).await.is(200);
    assert_eq!(changed.json()["metadata"], json!({ "plan": "gold" }));
    assert_eq!(changed.json()["name"], "Acme");
    let changed = change(json!({ "name": null, "tags": ["canary", "b"] })).await.is(200).json();
    assert_eq!((&changed["name"], &changed["tags"]), (&Value::Null, &json!(["b", "canary"])));
    let same = change(json!({})).await.is(200).json();
    assert_eq!(same, changed);
    let show = site.operator("GET", "/admin/tenants/tenant-1");
    assert_eq!(heard(show).await.is(200).json(), changed);

    for (body, wanted) in [
        (json!({ "slug": "b" }), ("slug", "unknown")),
        (json!({ "name": "" }), ("name", "name")),
        (json!({ "tags": null }), ("tags", "type")),
        (json!({ "metadata": [] }), ("metadata", "metadata")),
        (json!({ "metadata": { "tags": 1 } }), ("metadata", "metadata")),
    ] {
        assert_eq!(change(body.clone()).await.invalid(), fields([wanted]), "{body}");
    }
    // More than a tenant has, but not more than a request.
    for (key, status) in [("a", 200), ("b", 422)] {
        let answer = change(json!({ "metadata": { key: "x".repeat(9000) } })).await;
        assert_eq!(answer.status, status, "{key}: {answer:#?}");
    }
    let answer = site.operator("PATCH", "/admin/tenants/tenant-2").json(&json!({}));
    heard(answer).await.problem(404, "unknown-tenant");
}

#[tokio::test]
async fn tenants_are_listed_in_pages_and_shown_with_all_they_have() {
    let site = Site::new().await;
    let input = json!({
        "slug": "tenant-1",
        "name": " Acme Ltd ",
        "domains": ["b.example.org", "a.example.org"],
        "tags": ["eu", "canary"],
    });
    let answer = create(&site, input).await.is(201);
    assert_eq!(answer.header("location"), "/admin/tenants/tenant-1");
    let one = answer.json();
    assert_eq!((&one["name"], &one["tags"]), (&json!("Acme Ltd"), &json!(["canary", "eu"])));
    assert_eq!(one["domains"], json!(["a.example.org", "b.example.org"]));
    assert_eq!(one["schema_version"], "m20261123_000002_create_shifts");
    for slug in ["tenant-2", "tenant-3"] {
        site.create(slug).await;
    }
    let show = site.operator("GET", "/admin/tenants/tenant-1");
    assert_eq!(heard(show).await.is(200).json(), one);

    let page = heard(site.operator("GET", "/admin/tenants?limit=2")).await.is(200).json();
    assert_eq!(slugs(&page), ["tenant-1", "tenant-2"]);
    assert_eq!(page["items"][0], one);
    let next = format!("/admin/tenants?after={}", page["next"].as_str().unwrap());
    let page = heard(site.operator("GET", &next)).await.is(200).json();
    assert_eq!(slugs(&page), ["tenant-3"]);
    assert_eq!(page["next"], json!(null));
}

#[tokio::test]
async fn a_tenant_that_does_not_exist_is_404() {
    let site = Site::new().await;
    for slug in ["tenant-1", "Not A Slug", "registry", "%00"] {
        for method in ["GET", "DELETE"] {
            let request = site.operator(method, &format!("/admin/tenants/{slug}"));
            let problem = heard(request).await.problem(404, "unknown-tenant");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.ends_with("; GET /admin/tenants lists the existing ones"), "{detail}");
        }
    }
    assert_eq!(schemas(&site.db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn a_tenant_may_have_very_many_host_names_and_goes_with_all_of_them() {
    let site = Site::new().await;
    // More than fits in one notification: PostgreSQL's NOTIFY takes 8000 bytes.
    let domains: Vec<String> =
        (0..300).map(|number| format!("{}-{number}.example.org", "a".repeat(50))).collect();
    let input = json!({ "slug": "tenant-1", "domains": domains });
    create(&site, input).await.is(201);
    let last = site.caller(&domains[299]);
    last.get("/guards").await.is(200);
    heard(site.operator("DELETE", "/admin/tenants/tenant-1")).await.is(204);
    last.get("/guards").await.problem(404, "unknown-host");
}

async fn create(site: &Site, input: Value) -> Answer {
    heard(site.operator("POST", "/admin/tenants").json(&input)).await
}

fn slugs(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["slug"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_tenant_that_others_have_built_on_is_dropped_only_on_request() {
    let site = Site::new().await;
    site.create("tenant-1").await;
    let view = "CREATE SCHEMA report CREATE VIEW report.ids AS SELECT id FROM tenant_1.guards";
    sea_orm::ConnectionTrait::execute_unprepared(&site.db.plain().await, view).await.unwrap();
    for query in ["", "?cascade=false"] {
        let request = site.operator("DELETE", &format!("/admin/tenants/tenant-1{query}"));
        let problem = heard(request).await.problem(409, "has-dependents");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("view report.ids") && detail.contains("?cascade=true"), "{detail}");
    }
    heard(site.operator("GET", "/admin/tenants/tenant-1")).await.is(200);
    for query in ["?cascade=maybe", "?cascde=true"] {
        let request = site.operator("DELETE", &format!("/admin/tenants/tenant-1{query}"));
        heard(request).await.problem(400, "malformed");
    }
    heard(site.operator("DELETE", "/admin/tenants/tenant-1?cascade=true")).await.is(204);
    assert_eq!(schemas(&site.db.plain().await).await, ["public", "registry", "report"]);
}
