//! API keys over HTTP: on tenants' routes, on the admin API, and `/admin/keys`.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Answer, Caller, Site, fields, heard};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN, eventually},
};

/// A server that asks for credentials, on a database that may have another one.
pub(super) fn closed(db: &TestDb) -> HttpServer {
    let mut command = HttpServer::command(&db.url());
    HttpServer::launch(command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env_remove("TENANTRY_ANONYMOUS"))
}

async fn site() -> Site {
    let db = TestDb::new().await;
    let site = Site { serving: closed(&db), db };
    for slug in ["tenant-1", "tenant-2"] {
        site.create(slug).await;
    }
    site
}

/// Creates a key and returns the answer.
async fn created(site: &Site, input: Value) -> Value {
    heard(site.operator("POST", "/admin/keys").json(&input)).await.is(201).json()
}

async fn key_of(site: &Site, tenant: &str, scopes: &[&str]) -> (String, String) {
    let key = created(site, json!({ "name": "app", "tenant": tenant, "scopes": scopes })).await;
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

fn with(caller: &Caller, method: &str, path: &str, key: &str) -> RequestBuilder {
    caller.request(method, path).bearer_auth(key)
}

async fn get(caller: &Caller, path: &str, key: &str) -> Answer {
    heard(with(caller, "GET", path, key)).await
}

#[tokio::test]
async fn a_key_opens_its_own_tenant_within_its_scopes() {
    let site = site().await;
    let one = site.caller("tenant-1.localhost");
    let (reader, _) = key_of(&site, "tenant-1", &["read"]).await;
    let (writer, _) = key_of(&site, "tenant-1", &["write"]).await;
    let abu = json!({ "name": "Abu", "position": "Guard" });
    heard(with(&one, "POST", "/guards", &writer).json(&abu)).await.is(201);
    let guards = get(&one, "/guards", &reader).await.is(200).json();
    assert_eq!(guards["items"][0]["name"], "Abu");
    for (method, key, scope) in [("POST", &reader, "write"), ("GET", &writer, "read")] {
        let answer = heard(with(&one, method, "/guards", key).json(&abu)).await;
        answer.problem(403, "insufficient-scope");
        let wanted = format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
        assert_eq!(answer.header("www-authenticate"), wanted);
    }
    // The scheme in any case, and one credential only.
    heard(one.request("GET", "/guards").header("authorization", format!("bearer {reader}")))
        .await
        .is(200);
    heard(with(&one, "GET", "/guards", &reader).bearer_auth(&reader)).await.is(401);
    let log = site.serving.stderr();
    assert!(log.contains("key:app"), "{log}");
    for key in [reader, writer] {
        assert!(!log.contains(&key[21..]), "a secret is in the log");
    }
}

#[tokio::test]
async fn a_key_of_another_tenant_is_403_without_a_name_and_recorded_once() {
    let site = site().await;
    let (key, _) = key_of(&site, "tenant-1", &["read", "write"]).await;
    let mut answers = Vec::new();
    for host in ["tenant-2.localhost", "tenant-3.localhost", "tenant-2.localhost"] {
        for path in ["/guards", "/shifts"] {
            answers.push(get(&site.caller(host), path, &key).await);
        }
    }
    for answer in &answers {
        answer.problem(403, "other-tenant");
        assert!(!answer.text.contains("tenant-"), "{answer:?}");
        assert_eq!(answer.text, answers[0].text);
    }
    let entries = "SELECT action || ' ' || coalesce(slug, '-') || ' ' || actor FROM registry.audit
         WHERE action = 'key_refused' ORDER BY slug NULLS LAST";
    eventually("it is recorded", async || site.stored(entries).await.len() >= 2).await;
    let wanted = ["key_refused tenant-2 key:app", "key_refused - key:app"];
    assert_eq!(site.stored(entries).await, wanted);
}

#[tokio::test]
async fn a_key_without_the_scope_of_another_tenant_is_refused_as_one_of_another_tenant() {
    let site = site().await;
    let (key, _) = key_of(&site, "tenant-1", &["write"]).await;
    let two = site.caller("tenant-2.localhost");
    get(&two, "/guards", &key).await.problem(403, "other-tenant");
    // The log names the tenant also if the answer is that for a tenant that does not exist.
    site.set_status("tenant-2", "suspended").await;
    eventually("it is suspended", async || {
        get(&two, "/guards", &key).await.problem(403, "other-tenant");
        site.serving.stderr().contains("tenant_is=\"suspended\"")
    })
    .await;
    let entries = "SELECT DISTINCT slug FROM registry.audit WHERE action = 'key_refused'";
    eventually("it is recorded", async || site.stored(entries).await == ["tenant-2"]).await;
}

#[tokio::test]
async fn the_handshake_of_a_websocket_needs_the_scope_write() {
    let site = site().await;
    let one = site.caller("tenant-1.localhost");
    let (reader, _) = key_of(&site, "tenant-1", &["read"]).await;
    let ask = async |upgrade: &str| {
        let request = with(&one, "GET", "/guards", &reader).header("connection", "upgrade");
        heard(request.header("upgrade", upgrade)).await
    };
    let refused = ask("websocket").await;
    refused.problem(403, "insufficient-scope");
    assert!(refused.header("www-authenticate").contains("write"), "{refused:#?}");
    ask("h2c").await.is(200);
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_every_server() {
    let site = site().await;
    let second = closed(&site.db);
    let base = format!("http://{}", second.address());
    let host = "tenant-1.localhost";
    let callers = [site.caller(host), Caller { base, ..site.caller(host) }];
    let (key, id) = key_of(&site, "tenant-1", &["read"]).await;
    for caller in &callers {
        get(caller, "/guards", &key).await.is(200);
    }
    let path = format!("/admin/keys/{id}");
    heard(site.operator("DELETE", &path)).await.is(204);
    get(&callers[0], "/guards", &key).await.is(401);
    eventually("the second server refuses it", async || {
        get(&callers[1], "/guards", &key).await.status == 401
    })
    .await;
    let answer = get(&callers[1], "/guards", &key).await;
    let problem = answer.problem(401, "unauthorized");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#);
    assert!(problem["detail"].as_str().unwrap().contains("revoked"), "{problem}");
    heard(site.operator("DELETE", &path)).await.is(204);
    let unknown = "/admin/keys/0199a000-0000-7000-8000-000000000000";
    heard(site.operator("DELETE", unknown)).await.problem(404, "not-found");
}

#[tokio::test]
async fn the_key_of_a_suspended_tenant_is_refused_as_the_tenant_is() {
    let site = site().await;
    let one = site.caller("tenant-1.localhost");
    let (key, _) = key_of(&site, "tenant-1", &["read"]).await;
    get(&one, "/guards", &key).await.is(200);
    site.set_status("tenant-1", "suspended").await;
    eventually("it is refused", async || get(&one, "/guards", &key).await.status == 404).await;
    get(&one, "/guards", &key).await.problem(404, "unknown-host");
    site.set_status("tenant-1", "active").await;
    eventually("it is served", async || get(&one, "/guards", &key).await.status == 200).await;
}

#[tokio::test]
async fn an_operators_key_opens_the_admin_api_within_its_scopes_and_no_tenant() {
    let site = site().await;
    let base = site.caller("localhost");
    let operator = async |scopes: &[&str]| {
        let input = json!({ "name": "ops", "operator": true, "scopes": scopes });
        created(&site, input).await["key"].as_str().unwrap().to_owned()
    };
    let reader = operator(&["read"]).await;
    let admin = operator(&["read", "admin"]).await;
    let new = json!({ "slug": "tenant-3" });
    get(&base, "/admin/tenants", &reader).await.is(200);
    let refused = heard(with(&base, "POST", "/admin/tenants", &reader).json(&new)).await;
    refused.problem(403, "insufficient-scope");
    assert!(refused.header("www-authenticate").contains(r#"scope="admin""#), "{refused:?}");
    heard(with(&base, "POST", "/admin/tenants", &admin).json(&new)).await.is(201);
    get(&site.caller("tenant-1.localhost"), "/guards", &admin).await.problem(403, "operator-only");
    let (tenants, _) = key_of(&site, "tenant-1", &["read", "write", "admin"]).await;
    get(&base, "/admin/tenants", &tenants).await.problem(403, "not-an-operator");
    let actors = "SELECT actor FROM registry.audit WHERE action = 'created' AND slug = 'tenant-3'";
    assert_eq!(site.stored(actors).await, ["key:ops"]);
}

#[tokio::test]
async fn after_many_failures_an_address_waits_and_known_keys_are_served() {
    let site = site().await;
    let one = site.caller("tenant-1.localhost");
    let (known, _) = key_of(&site, "tenant-1", &["read"]).await;
    let (fresh, _) = key_of(&site, "tenant-1", &["read"]).await;
    get(&one, "/guards", &known).await.is(200);
    let mut failed = 0;
    let limited = loop {
        let answer = get(&one, "/guards", &format!("guess-{failed}")).await;
        if answer.status != 401 {
            break answer;
        }
        failed += 1;
        assert!(failed <= 100, "no limit");
    };
    limited.problem(429, "too-many-failures");
    let wait: u32 = limited.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(failed >= 10, "only {failed}");
    // Not even right ones that would have to be looked up, or compared with a guessable token.
    get(&one, "/guards", &fresh).await.problem(429, "too-many-failures");
    heard(site.operator("GET", "/admin/tenants")).await.problem(429, "too-many-failures");
    get(&one, "/guards", &known).await.is(200);
    one.get("/guards").await.problem(401, "unauthorized");
    heard(one.request("GET", "/health")).await.is(204);
}

#[tokio::test]
async fn an_expired_key_is_401_with_its_time_and_no_failure_and_a_revoked_one_is_a_failure() {
    let site = site().await;
    let one = site.caller("tenant-1.localhost");
    let end = chrono::Utc::now() + chrono::TimeDelta::milliseconds(1500);
    let new = json!({ "name": "app", "tenant": "tenant-1", "scopes": ["read"], "expires_at": end });
    let expiring = created(&site, new).await;
    let (expired, path) = (expiring["key"].as_str().unwrap(), expiring["id"].as_str().unwrap());
    get(&one, "/guards", expired).await.is(200);
    let path = format!("/admin/keys/{path}");
    eventually("its use is shown", async || {
        heard(site.operator("GET", &path)).await.json()["last_used_at"].is_string()
    })
    .await;
    eventually("it has expired", async || get(&one, "/guards", expired).await.status == 401).await;
    for _ in 0..50 {
        let problem = get(&one, "/guards", expired).await.problem(401, "unauthorized");
        let detail = problem["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("expired at {}", end.format("%Y-%m-%d"))), "{detail}");
    }
    let (revoked, id) = key_of(&site, "tenant-1", &["read"]).await;
    heard(site.operator("DELETE", &format!("/admin/keys/{id}"))).await.is(204);
    let mut failed = 0;
    while get(&one, "/guards", &revoked).await.status == 401 {
        failed += 1;
        assert!(failed <= 100, "no limit");
    }
    get(&one, "/guards", &revoked).await.problem(429, "too-many-failures");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_of_its_clients_is_counted() {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command.env("TENANTRY_ADMIN_TOKEN", TOKEN).env("TENANTRY_CLIENT_ADDRESS_HEADER", "X-Real-Ip");
    let site = Site { serving: HttpServer::launch(&mut command), db };
    let ask = async |client: &str, token: &str| {
        let request = site.caller("localhost").request("GET", "/admin/tenants").bearer_auth(token);
        heard(request.header("x-real-ip", client)).await.status
    };
    let mut failures = 0;
    while ask("192.0.2.1", "not-the-token-of-this-server").await == 401 {
        failures += 1;
        assert!(failures <= 100, "no limit");
    }
    assert_eq!(ask("192.0.2.1", TOKEN).await, 429);
    assert_eq!(ask("192.0.2.2", TOKEN).await, 200);
}

#[tokio::test]
async fn keys_are_created_listed_and_revoked_over_http() {
    let site = site().await;
    let input = json!({ "name": " Night report ", "tenant": "tenant-1", "scopes": ["read"],
        "expires_at": "2199-01-31T00:00:00Z" });
    let answer = heard(site.operator("POST", "/admin/keys").json(&input)).await.is(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut one = answer.json();
    assert_eq!(answer.header("location"), format!("/admin/keys/{}", one["id"].as_str().unwrap()));
    assert_eq!((&one["name"], &one["tenant"]), (&json!("Night report"), &json!("tenant-1")));
    assert_eq!(one["scopes"], json!(["read"]));
    assert!(one["expires_at"].as_str().unwrap().starts_with("2199-01-31T00:00:00"), "{one}");
    let key = one.as_object_mut().unwrap().remove("key").unwrap();
    created(&site, json!({ "name": "ops", "operator": true, "scopes": ["admin"] })).await;
    let listed = async |query: &str| {
        let answer = heard(site.operator("GET", &format!("/admin/keys{query}"))).await.is(200);
        assert!(!answer.text.contains(&key.as_str().unwrap()[21..]), "{answer:?}");
        answer.json()
    };
    assert_eq!(listed("?tenant=tenant-1").await["items"], json!([one]));
    assert_eq!(listed("?operator=true").await["items"][0]["name"], "ops");
    assert_eq!(listed("?limit=1").await["items"], json!([one]));
    let next = listed("?limit=1").await["next"].as_str().unwrap().to_owned();
    assert_eq!(listed(&format!("?after={next}")).await["items"][0]["tenant"], json!(null));
    let path = answer.header("location").to_owned();
    let by_prefix = format!("/admin/keys/{}", one["prefix"].as_str().unwrap());
    for path in [&path, &by_prefix] {
        assert_eq!(heard(site.operator("GET", path)).await.is(200).json(), one);
    }
    heard(site.operator("DELETE", &by_prefix)).await.is(204);
    assert!(listed("?tenant=tenant-1").await["items"][0]["revoked_at"].is_string());
    assert!(heard(site.operator("GET", &path)).await.json()["revoked_at"].is_string());
    for unknown in ["0199a000-0000-7000-8000-000000000000", "tnt_0123456789abcdef", "one"] {
        for method in ["GET", "DELETE"] {
            let request = site.operator(method, &format!("/admin/keys/{unknown}"));
            heard(request).await.problem(404, "not-found");
        }
    }
    let anonymous = site.caller("localhost");
    for (method, path) in
        [("GET", "/admin/keys"), ("POST", "/admin/keys"), ("GET", &*path), ("DELETE", &path)]
    {
        heard(anonymous.request(method, path)).await.problem(401, "unauthorized");
    }
    let both = heard(site.operator("GET", "/admin/keys?tenant=tenant-1&operator=true")).await;
    both.problem(400, "malformed");
    let unknown = heard(site.operator("GET", "/admin/keys?tenant=nowhere")).await;
    unknown.problem(404, "unknown-tenant");
}

#[tokio::test]
async fn a_key_that_is_not_valid_is_422_with_every_field() {
    let site = site().await;
    let create =
        async |input: &Value| heard(site.operator("POST", "/admin/keys").json(input)).await;
    for (input, wanted) in [
        (json!({}), vec![("name", "required"), ("tenant", "owner")]),
        (
            json!({ "name": "a\nb", "tenant": "No", "scopes": ["all"] }),
            vec![("name", "name"), ("scopes[0]", "scope"), ("tenant", "slug")],
        ),
        (
            json!({ "name": "a", "tenant": "tenant-1", "operator": true, "scopes": ["read"] }),
            vec![("tenant", "owner")],
        ),
        (json!({ "name": "a", "operator": true, "hash": "" }), vec![("hash", "unknown")]),
    ] {
        let wanted: Vec<_> = wanted.into_iter().flat_map(|it| fields([it])).collect();
        assert_eq!(create(&input).await.invalid(), wanted, "{input}");
    }
    for input in [
        json!({ "name": "a", "operator": true, "scopes": [] }),
        json!({ "name": "a", "operator": true, "scopes": ["write"] }),
        json!({ "name": "a", "tenant": "tenant-1", "scopes": ["read"],
            "expires_at": "2001-01-01T00:00:00Z" }),
    ] {
        create(&input).await.problem(422, "invalid-key");
    }
    let nowhere = json!({ "name": "a", "tenant": "nowhere", "scopes": ["read"] });
    create(&nowhere).await.problem(404, "unknown-tenant");
    assert_eq!(site.stored("SELECT count(*)::text FROM registry.api_keys").await, ["0"]);
}
