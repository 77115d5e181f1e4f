//! Copies over HTTP.

use reqwest::{Client, RequestBuilder};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::contents;
use crate::support::{
    TestDb,
    catalog::texts,
    http_server::{HttpServer, TOKEN, eventually},
};

/// A server whose tenant `acme` has rows.
struct Site {
    serving: HttpServer,
    db: TestDb,
}

impl Site {
    async fn new(guards: u32) -> Self {
        let db = TestDb::new().await;
        let serving = HttpServer::start(&db.url());
        let site = Self { serving, db };
        let created = site.operator("POST", "/admin/tenants").json(&json!({ "slug": "acme" }));
        assert_eq!(created.send().await.unwrap().status(), 201);
        let sql = format!(
            "INSERT INTO acme.guards (id, name, position, inserted_at, updated_at)
             SELECT gen_random_uuid(), repeat('Abu', 200), 'Gate', now(), now()
             FROM generate_series(1, {guards})"
        );
        site.db.plain().await.execute_unprepared(&sql).await.unwrap();
        site
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}{path}", self.serving.address());
        client.request(method.parse().unwrap(), url).header("host", "localhost")
    }

    fn operator(&self, method: &str, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(TOKEN)
    }

    async fn export(&self) -> Vec<u8> {
        let answer = self.operator("GET", "/admin/tenants/acme/export").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/x-tar");
        let name = "attachment; filename=\"acme.tar\"";
        assert_eq!(answer.headers()["content-disposition"], name);
        answer.bytes().await.unwrap().to_vec()
    }
}

/// Status and body of an answer.
async fn heard(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_exported_imported_and_cloned_over_http() {
    // More than a body may have elsewhere.
    let site = Site::new(20_000).await;
    let archive = site.export().await;
    assert!(archive.len() > 10_000_000);
    let import = site.operator("POST", "/admin/imports?as=acme-2").body(archive.clone());
    let (status, imported) = heard(import).await;
    assert_eq!((status, &imported["tenant"]["slug"]), (201, &"acme-2".into()), "{imported}");
    assert_eq!(imported["rows"], 20_000);
    let clone = site.operator("POST", "/admin/tenants/acme/clone");
    let (status, cloned) = heard(clone.json(&json!({ "slug": "acme-3" }))).await;
    assert_eq!((status, &cloned["tenant"]["slug"]), (201, &"acme-3".into()), "{cloned}");
    let clone = site.operator("POST", "/admin/tenants/acme/clone");
    let empty = json!({ "slug": "acme-4", "structure_only": true });
    let (status, cloned) = heard(clone.json(&empty)).await;
    assert_eq!((status, &cloned["rows"]), (201, &0.into()), "{cloned}");
    let plain = site.db.plain().await;
    for schema in ["acme_2", "acme_3"] {
        assert_eq!(contents(&plain, schema).await, contents(&plain, "acme").await);
    }
    let new = json!({ "name": "reader", "operator": true, "scopes": ["read"] });
    let (_, reader) = heard(site.operator("POST", "/admin/keys").json(&new)).await;
    let reader = reader["key"].as_str().unwrap();
    // Refusals, with their status.
    let post = |path: &str| site.operator("POST", path);
    let import = "/admin/imports";
    for (request, status, kind) in [
        (post("/admin/imports?as=acme").body(archive.clone()), 409, "slug-taken"),
        (post("/admin/imports?as=No").body(archive.clone()), 422, "invalid"),
        (post(import).body(archive[..9_000_000].to_vec()), 409, "slug-taken"),
        (post("/admin/imports?as=b").body(archive[..9_000_000].to_vec()), 422, "invalid-export"),
        (post(import).body("not an archive"), 422, "invalid-export"),
        (post("/admin/tenants/acme").body("x"), 405, "method-not-allowed"),
        (post("/admin/tenants/acme/clone").json(&json!({})), 422, "invalid"),
        (post("/admin/tenants/acme/clone").json(&json!({ "slug": "acme" })), 409, "slug-taken"),
        (post("/admin/tenants/none/clone").json(&json!({ "slug": "b" })), 404, "unknown-tenant"),
        (site.operator("GET", "/admin/tenants/none/export"), 404, "unknown-tenant"),
        (site.request("GET", "/admin/tenants/acme/export"), 401, "unauthorized"),
        (
            site.request("GET", "/admin/tenants/acme/export").bearer_auth(reader),
            403,
            "insufficient-scope",
        ),
        (site.request("POST", import).body(archive.clone()), 401, "unauthorized"),
        (site.request("POST", "/admin/tenants/acme/clone"), 401, "unauthorized"),
    ] {
        let (found, problem) = heard(request).await;
        let expected = format!("urn:tenantry:problem:{kind}");
        assert_eq!((found, &problem["type"]), (status, &expected.into()), "{problem}");
    }
    // No export is at fault.
    let ahead = "INSERT INTO acme.seaql_migrations (version, applied_at) VALUES ('m9_later', 0)";
    plain.execute_unprepared(ahead).await.unwrap();
    let clone = post("/admin/tenants/acme/clone").json(&json!({ "slug": "b" }));
    let (status, problem) = heard(clone).await;
    let expected = "urn:tenantry:problem:not-copyable";
    assert_eq!((status, &problem["type"]), (409, &expected.into()), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("m9_later"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_interrupted_is_no_complete_answer() {
    let site = Site::new(50_000).await;
    let plain = site.db.plain().await;
    let mut answer = site.operator("GET", "/admin/tenants/acme/export").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.chunk().await.unwrap().unwrap();
    let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'COPY%'";
    eventually("a copy is terminated", async || texts(&plain, end).await == ["true"]).await;
    let failed = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(failed.is_some(), "the answer looked complete");
    let log = site.serving.stderr();
    assert!(log.contains("an export was interrupted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_tenant_and_no_transaction() {
    let site = Site::new(20_000).await;
    let plain = site.db.plain().await;
    let archive = site.export().await;
    let mut client = TcpStream::connect(site.serving.address()).await.unwrap();
    let head = format!(
        "POST /admin/imports?as=acme-2 HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        archive.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&archive[..5_000_000]).await.unwrap();
    let copying = "SELECT count(*)::text FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'COPY%'";
    eventually("rows are loaded", async || texts(&plain, copying).await == ["1"]).await;
    drop(client);
    eventually("the import ends", async || texts(&plain, copying).await == ["0"]).await;
    let left = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'acme_%'";
    assert_eq!(texts(&plain, left).await, Vec::<String>::new());
    let again = site.operator("POST", "/admin/imports?as=acme-2").body(archive);
    assert_eq!(heard(again).await.0, 201);
}
