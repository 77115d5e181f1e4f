//! Notifications do not arrive, although no connection was closed.

use sea_orm::DatabaseConnection;
use tenantry::{Availability, Config, NewTenant, Tenancy, Tenant};

use super::{refusal, set_status};
use crate::support::{
    TestDb,
    http_server::{HttpServer, eventually},
    log::Log,
    slug,
    tcp_proxy::TcpProxy,
};

struct Fixture {
    tenancy: Tenancy,
    tenant: Tenant,
    plain: DatabaseConnection,
    wire: TcpProxy,
    _db: TestDb,
}

async fn fixture() -> Fixture {
    let (db, wire) = (TestDb::new().await, TcpProxy::new().await);
    let config = Config { connect_options: wire.url(db.name()).into(), ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let tenant = tenancy.tenant(&slug("tenant-1")).await.unwrap();
    assert_eq!(refusal(&tenant).await, None);
    assert!(tenancy.is_receiving_notifications());
    Fixture { tenancy, tenant, plain: db.plain().await, wire, _db: db }
}

#[tokio::test]
async fn a_connection_for_announcements_that_went_dead_in_silence_is_replaced() {
    let log = Log::listen();
    let it = fixture().await;
    it.wire.freeze_listeners();
    set_status(&it.plain, it.tenant.slug(), "suspended").await;
    eventually("the loss is noticed", async || !it.tenancy.is_receiving_notifications()).await;
    assert!(log.text().contains("did not return within 2 seconds"), "{}", log.text());
    assert_eq!(refusal(&it.tenant).await, Some(Availability::Suspended));
    eventually("notifications are received", async || it.tenancy.is_receiving_notifications())
        .await;
    set_status(&it.plain, it.tenant.slug(), "active").await;
    eventually("the tenant is active again", async || refusal(&it.tenant).await.is_none()).await;
}

#[tokio::test]
async fn without_notifications_nothing_cached_is_used_for_more_than_a_second() {
    let it = fixture().await;
    it.wire.keep_notifications(true);
    eventually("the loss is noticed", async || !it.tenancy.is_receiving_notifications()).await;
    // It goes on working, with the registry asked again and again.
    let host = "guards.example.org".parse().unwrap();
    it.tenancy.domain_add(it.tenant.slug(), &host).await.unwrap();
    for (status, availability) in [("suspended", Some(Availability::Suspended)), ("active", None)] {
        set_status(&it.plain, it.tenant.slug(), status).await;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(refusal(&it.tenant).await, availability);
        assert_eq!(it.tenancy.tenant_by_host(host.as_str()).await.is_ok(), availability.is_none());
    }
    it.wire.keep_notifications(false);
    eventually("notifications are received", async || it.tenancy.is_receiving_notifications())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_that_announcements_are_not_received_and_when_they_are_again() {
    let (db, wire) = (TestDb::new().await, TcpProxy::new().await);
    let serving = HttpServer::start(&wire.url(db.name()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let health = async || {
        let url = format!("http://{}/health", serving.address());
        let answer = client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(health().await, (204, String::new()));
    wire.keep_notifications(true);
    eventually("health says so", async || health().await.0 == 200).await;
    let (_, body) = health().await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["status"], "degraded");
    assert!(body["detail"].as_str().unwrap().contains("LISTEN"), "{body}");
    assert!(serving.stderr().contains("notifications are not received"), "{}", serving.stderr());
    wire.keep_notifications(false);
    eventually("health says that it is over", async || health().await.0 == 204).await;
}
