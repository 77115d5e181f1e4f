//! A server with the application's role.

use reqwest::{Client, Method, header};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tenantry_migrate::setup::SetupOptions;

use super::{Site, create};
use crate::support::http_server::{HttpServer, TOKEN, eventually};

struct Served {
    server: HttpServer,
    client: Client,
}

impl Served {
    fn start(site: &Site, owner: bool) -> Self {
        let mut command = HttpServer::command(&site.app_url());
        command.env("TENANTRY_ADMIN_TOKEN", TOKEN);
        if owner {
            command.env("TENANTRY_OWNER_URL", site.owner_url());
        }
        let client = Client::builder().no_proxy().build().unwrap();
        Self { server: HttpServer::launch(&mut command), client }
    }

    async fn call(&self, method: Method, host: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.server.address());
        let request = self.client.request(method, url).header(header::HOST, host);
        let answer = request.bearer_auth(TOKEN).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// Stores, changes, lists and deletes rows of a tenant.
    async fn use_rows(&self, host: &str) {
        let guard = json!({ "name": "Abu", "position": "Gate" });
        let (status, stored) = self.call(Method::POST, host, "/guards", guard).await;
        assert_eq!(status, 201, "{stored}");
        let path = format!("/guards/{}", stored["id"].as_str().unwrap());
        let change = json!({ "position": "Captain" });
        let (status, changed) = self.call(Method::PATCH, host, &path, change).await;
        assert_eq!((status, &changed["position"]), (200, &json!("Captain")));
        let (_, page) = self.call(Method::GET, host, "/guards", json!(null)).await;
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
        let times =
            json!({ "starts_at": "2026-01-01T08:00:00Z", "ends_at": "2026-01-01T16:00:00Z" });
        let (status, stored) =
            self.call(Method::POST, host, &format!("{path}/shifts"), times).await;
        assert_eq!(status, 201, "{stored}");
        let shift = format!("/shifts/{}", stored["id"].as_str().unwrap());
        assert_eq!(self.call(Method::DELETE, host, &shift, json!(null)).await.0, 204);
        assert_eq!(self.call(Method::DELETE, host, &path, json!(null)).await.0, 204);
    }
}

const TENANT: &str = "tenant-1.localhost";

#[tokio::test]
async fn with_the_owners_url_the_whole_api_works() {
    let site = Site::set_up().await;
    let served = Served::start(&site, true);
    let new = json!({ "slug": "tenant-1" });
    let (status, body) = served.call(Method::POST, "localhost", "/admin/tenants", new).await;
    assert_eq!(status, 201, "{body}");
    served.use_rows(TENANT).await;
    let path = "/admin/tenants/tenant-1";
    assert_eq!(served.call(Method::DELETE, "localhost", path, json!(null)).await.0, 204);
    assert_eq!(served.call(Method::GET, TENANT, "/guards", json!(null)).await.0, 404);
    let log = served.server.stderr();
    assert!(!log.contains("superuser") && !log.contains("owns their tables"), "{log}");
}

#[tokio::test]
async fn without_it_rows_are_served_and_creations_are_501_with_the_remedy() {
    let site = Site::set_up().await;
    create(&site.with_owner().await, "tenant-1").await.unwrap();
    let served = Served::start(&site, false);
    served.use_rows(TENANT).await;
    for (method, path, body) in [
        (Method::POST, "/admin/tenants", json!({ "slug": "tenant-2" })),
        (Method::DELETE, "/admin/tenants/tenant-1", json!(null)),
    ] {
        let (status, problem) = served.call(method, "localhost", path, body).await;
        assert_eq!(
            (status, &problem["type"]),
            (501, &json!("urn:tenantry:problem:owner-required"))
        );
        assert!(problem["detail"].as_str().unwrap().contains("TENANTRY_OWNER_URL"), "{problem}");
    }
    let change = json!({ "name": "Acme" });
    let (status, body) =
        served.call(Method::PATCH, "localhost", "/admin/tenants/tenant-1", change).await;
    assert_eq!(status, 200, "{body}");
    served.use_rows(TENANT).await;
}

#[tokio::test]
async fn the_log_names_each_right_that_the_serving_role_should_not_have() {
    let site = Site::set_up().await;
    let mut command = HttpServer::command(&site.db.url());
    let server = HttpServer::launch(&mut command);
    eventually("it is named", async || server.stderr().contains("is a superuser")).await;
    let log = server.stderr();
    assert!(log.contains("tenantry setup") && !log.contains("owns their tables"), "{log}");

    let plain = site.db.plain().await;
    let sql = format!("GRANT CREATE ON SCHEMA public TO {}", site.roles[0].0);
    plain.execute_unprepared(&sql).await.unwrap();
    let mut command = HttpServer::command(&site.owner_url());
    let server = HttpServer::launch(&mut command);
    for right in ["owns their tables", "in schema public"] {
        eventually("it is named", async || server.stderr().contains(right)).await;
    }
    assert!(!server.stderr().contains("is a superuser"), "{}", server.stderr());
}

#[tokio::test]
async fn the_applications_role_may_ask_how_much_memory_its_server_process_has() {
    let site = Site::set_up().await;
    let ask = "SELECT sum(total_bytes) FROM pg_catalog.pg_get_backend_memory_contexts()";
    site.app().await.execute_unprepared(ask).await.unwrap();
    let (plain, role) = (site.db.plain().await, &site.roles[1].0);
    let function = "ON FUNCTION pg_catalog.pg_get_backend_memory_contexts()";
    plain.execute_unprepared(&format!("REVOKE EXECUTE {function} FROM {role}")).await.unwrap();
    let plan = site.plan(&SetupOptions::default()).await.unwrap();
    let found: Vec<_> = plan.steps.into_iter().flat_map(|step| step.statements).collect();
    let grant = "GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts()";
    assert_eq!(found, [format!("{grant} TO {role}")]);
}

#[tokio::test]
async fn the_applications_role_has_the_settings_to_serve_through_a_pooler_at_once() {
    let site = Site::set_up().await;
    let config = site.config().owner_url(site.owner_url()).direct_url(site.app_url());
    let tenancy = tenantry::Tenancy::connect(&config).await.unwrap();
    create(&tenancy, "tenant-1").await.unwrap();
    assert_eq!(tenancy.serving_role().name, site.roles[1].0);
    // Shorter timeouts are left alone.
    let (plain, role) = (site.db.plain().await, &site.roles[1].0);
    for (setting, missing) in [
        ("SET statement_timeout = '1min'", vec!["statement_timeout = '25000ms'"]),
        ("SET statement_timeout = 0", vec!["statement_timeout = '25000ms'"]),
        ("SET statement_timeout = 5000", vec![]),
        ("SET search_path = public", vec!["search_path = pg_catalog"]),
        ("SET search_path = pg_catalog", vec![]),
        ("RESET standard_conforming_strings", vec!["standard_conforming_strings = on"]),
    ] {
        let alter = format!("ALTER ROLE {role} IN DATABASE {} ", site.db.name());
        plain.execute_unprepared(&format!("{alter}{setting}")).await.unwrap();
        let plan = site.plan(&SetupOptions::default()).await.unwrap();
        let found: Vec<_> = plan.steps.into_iter().flat_map(|step| step.statements).collect();
        let wanted: Vec<_> = missing.iter().map(|it| format!("{alter}SET {it}")).collect();
        assert_eq!(found, wanted, "{setting}");
    }
}
