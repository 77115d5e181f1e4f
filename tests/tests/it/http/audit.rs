//! The audit log over HTTP.

use serde_json::{Value, json};

use super::{Site, execute, heard};

#[tokio::test]
async fn operators_read_the_log_and_what_is_stray() {
    let site = Site::new().await;
    for slug in ["tenant-1", "tenant-2", "tenant-3"] {
        site.create(slug).await;
    }
    let slugs = async |path: String| {
        let page = heard(site.operator("GET", &path)).await.is(200).json();
        let items = page["items"].as_array().unwrap().iter();
        let slugs: Vec<_> = items.map(|it| it["slug"].as_str().unwrap().to_owned()).collect();
        (slugs, page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = slugs("/admin/audit?limit=2".to_owned()).await;
    assert_eq!(first, ["tenant-1", "tenant-2"]);
    let (second, end) = slugs(format!("/admin/audit?limit=2&after={}", next.unwrap())).await;
    assert_eq!((second, end), (vec!["tenant-3".to_owned()], None));
    let newest = "/admin/audit?newest_first=true&limit=1&action=created".to_owned();
    assert_eq!(slugs(newest).await.0, ["tenant-3"]);
    assert_eq!(slugs("/admin/audit?tenant=tenant-2".to_owned()).await.0, ["tenant-2"]);
    let future = "/admin/audit?since=2999-01-01T00:00:00Z".to_owned();
    assert!(slugs(future).await.0.is_empty());
    for query in ["tenant=No", "action=teleported", "since=yesterday", "after=1", "sort=x"] {
        heard(site.operator("GET", &format!("/admin/audit?{query}")))
            .await
            .problem(400, "malformed");
    }
    let healthy = heard(site.operator("GET", "/admin/doctor")).await.is(200).json();
    assert_eq!(healthy, json!({ "findings": [], "complete": true }));
    execute(&site.db.plain().await, "DROP SCHEMA tenant_2 CASCADE").await;
    let found = heard(site.operator("GET", "/admin/doctor")).await.is(200).json();
    assert_eq!(found["findings"][0]["kind"], "missing_schema");
    assert_eq!(found["findings"][0]["tenant"], "tenant-2");
    let lost = "INSERT INTO registry.domains SELECT 'lost.example.org', id, now()
        FROM registry.tenants WHERE slug = 'tenant-1'";
    heard(site.operator("DELETE", "/admin/tenants/tenant-1")).await.is(204);
    execute(&site.db.plain().await, lost).await;
    let fixed = heard(site.operator("POST", "/admin/doctor/fix")).await.is(200).json();
    assert_eq!(fixed["fixed"][0]["finding"]["kind"], "stray_rows");
    assert_eq!(fixed["fixed"][0]["error"], json!(null));
    // What is left to a person is named.
    assert_eq!(fixed["findings"][0]["kind"], "missing_schema");
    let repaired = "SELECT actor || slug FROM registry.audit WHERE action = 'repaired'";
    assert_eq!(site.stored(repaired).await, ["admin tokentenant-1"]);
    assert_eq!(site.stored("SELECT hostname FROM registry.domains").await, [""; 0]);
    let caller = site.caller("localhost");
    for path in ["/admin/audit", "/admin/doctor"] {
        caller.get(path).await.problem(401, "unauthorized");
    }
    let fix = caller.post("/admin/doctor/fix", json!({})).await;
    fix.problem(401, "unauthorized");
}

#[tokio::test]
async fn every_changing_route_records_its_operator_and_request() {
    let site = Site::new().await;
    let tenant = |path: &str| format!("/admin/tenants/{path}");
    let post = |path: &str, body: Value| (site.operator("POST", path).json(&body), path.to_owned());
    post("/admin/tenants", json!({ "slug": "acme" })).0.send().await.unwrap();
    let export = site.operator("GET", &tenant("acme/export"));
    let export = export.header("x-request-id", "export").send().await.unwrap();
    let archive = export.bytes().await.unwrap().to_vec();
    let key = json!({ "name": "app", "tenant": "acme", "scopes": ["read"] });
    let key = heard(post("/admin/keys", key).0.header("x-request-id", "key")).await.is(201);
    let key = key.header("location").to_owned();
    let patch = |body: Value| {
        let path = tenant("acme");
        (site.operator("PATCH", &path).json(&body), path)
    };
    let delete = |path: &str| (site.operator("DELETE", path), path.to_owned());
    let imported = site.operator("POST", "/admin/imports?as=beta").body(archive);
    let mut ids = vec!["export".to_owned(), "key".to_owned()];
    for (number, (request, path)) in [
        post("/admin/tenants", json!({ "slug": "delta" })),
        delete(&tenant("delta")),
        patch(json!({ "name": "Acme" })),
        post(&tenant("acme/read-only"), json!({ "read_only": true })),
        post(&tenant("acme/read-only"), json!({ "read_only": false })),
        post(&tenant("acme/clone"), json!({ "slug": "gamma" })),
        (imported, "/admin/imports".to_owned()),
        post(&tenant("acme/suspend"), json!({ "reason": "invoice" })),
        post(&tenant("acme/resume"), json!({})),
        delete(&key),
        post(&tenant("acme/archive"), json!({})),
        post(&tenant("acme/restore"), json!({})),
        post(&tenant("acme/rename"), json!({ "slug": "omega" })),
        post(&tenant("omega/archive"), json!({})),
        post(&tenant("omega/purge"), json!({ "force": true })),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("change-{number}");
        let answer = heard(request.header("x-request-id", &id)).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:#?}");
        ids.push(id);
    }
    ids.sort();
    let recorded = "SELECT DISTINCT request_id FROM registry.audit
         WHERE actor = 'admin token' AND request_id ~ '^(export|key|change-.*)$' ORDER BY 1";
    let mut recorded = site.stored(recorded).await;
    recorded.sort();
    assert_eq!(recorded, ids);
    // And nothing without them, except what the server does by itself.
    let others = "SELECT concat_ws(' ', action, actor, request_id) FROM registry.audit
         WHERE actor <> 'admin token' OR request_id IS NULL";
    assert_eq!(site.stored(others).await, Vec::<String>::new());
}

#[tokio::test]
async fn changes_are_recorded_with_the_id_of_their_request() {
    let site = Site::new().await;
    let body = json!({ "slug": "tenant-1" });
    let request = site.operator("POST", "/admin/tenants").json(&body);
    heard(request.header("x-request-id", "from-client-1")).await.is(201);
    let change = json!({ "name": "Acme" });
    let request = site.operator("PATCH", "/admin/tenants/tenant-1").json(&change);
    let made = heard(request).await.is(200).header("x-request-id").to_owned();
    let request = site.operator("DELETE", "/admin/tenants/tenant-1");
    heard(request.header("x-request-id", "from-client-2")).await.is(204);
    let sql = "SELECT concat_ws(' ', action, actor, request_id) FROM registry.audit ORDER BY id";
    let expected = [
        "created admin token from-client-1".to_owned(),
        format!("updated admin token {made}"),
        "dropping admin token from-client-2".to_owned(),
        "dropped admin token from-client-2".to_owned(),
    ];
    assert_eq!(site.stored(sql).await, expected);
}
