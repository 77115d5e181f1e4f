//! Changes of a tenant's entry in the registry, and the metadata of the application.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;
use tenantry::{
    Availability, Error, Limits, Metadata, MetadataError, NewTenant, Tenancy, TenantInfo,
    TenantUpdate,
};

use crate::support::{TestDb, catalog::texts, http_server::eventually, slug};

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    plan: String,
    seats: Option<u32>,
}

fn account(plan: &str, seats: Option<u32>) -> Metadata {
    Metadata::new(&Account { plan: plan.to_owned(), seats }).unwrap()
}

async fn change(tenancy: &Tenancy, change: TenantUpdate) -> TenantInfo {
    tenancy.update(&slug("acme"), change).await.unwrap()
}

#[tokio::test]
async fn metadata_is_stored_and_read_as_the_type_of_the_application() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = db.tenancy().await;
    let new = NewTenant {
        name: Some("Acme".parse().unwrap()),
        tags: vec!["eu".parse().unwrap()],
        metadata: account("go'ld \u{1F600}", None),
        ..NewTenant::new(slug("acme"))
    };
    let created = tenancy.create(new).await.unwrap();
    let expected = Account { plan: "go'ld \u{1F600}".to_owned(), seats: None };
    assert_eq!(created.metadata::<Account>().unwrap(), expected);
    let read = tenancy.get(&slug("acme")).await.unwrap().unwrap();
    assert_eq!(read, created);
    let stored = "SELECT (metadata = '{\"name\": \"Acme\", \"tags\": [\"eu\"],
                     \"plan\": \"go''ld \u{1F600}\"}')::text FROM registry.tenants";
    assert_eq!(texts(&plain, stored).await, ["true"]);

    // Another program has stored something else.
    let other = "UPDATE registry.tenants SET metadata = '{\"plan\": 7, \"name\": \"Acme\"}'";
    plain.execute_unprepared(other).await.unwrap();
    let read = tenancy.get(&slug("acme")).await.unwrap().unwrap();
    let error = read.metadata::<Account>().unwrap_err();
    assert!(matches!(&error, Error::UnreadableMetadata { slug, .. } if slug.as_str() == "acme"));
    assert!(error.to_string().contains("tenant acme cannot be read"), "{error}");
}

#[tokio::test]
async fn each_field_is_kept_set_or_removed() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["acme", "other"]).await;
    let host = "guards.example.org".parse().unwrap();
    tenancy.domain_add(&slug("acme"), &host).await.unwrap();
    let others = tenancy.get(&slug("other")).await.unwrap();
    let before = tenancy.get(&slug("acme")).await.unwrap().unwrap();

    // Nothing is changed, so neither is the time of the last change.
    assert_eq!(change(&tenancy, TenantUpdate::new()).await, before);
    let none = TenantUpdate::new().name(None).tags(Vec::new()).metadata(Metadata::default());
    assert_eq!(change(&tenancy, none).await, before);

    let tags = ["eu", "canary", "eu"].map(|tag| tag.parse().unwrap()).to_vec();
    let all = TenantUpdate::new()
        .name(Some("Acme \"Ltd\"".parse().unwrap()))
        .tags(tags)
        .metadata(account("gold", Some(3)));
    let after = change(&tenancy, all).await;
    assert!(after.updated_at > before.updated_at);
    let expected = TenantInfo {
        name: Some("Acme \"Ltd\"".parse().unwrap()),
        tags: ["canary", "eu"].map(|tag| tag.parse().unwrap()).to_vec(),
        metadata: account("gold", Some(3)),
        updated_at: after.updated_at,
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(tenancy.get(&slug("acme")).await.unwrap(), Some(expected.clone()));

    // A field that is None removes the key.
    let after = change(&tenancy, TenantUpdate::new().metadata(account("free", None))).await;
    assert_eq!(after.metadata, Metadata::new(&json!({ "plan": "free" })).unwrap());
    assert_eq!((after.name, after.tags), (expected.name, expected.tags));
    let replaced = TenantUpdate::new().replace_metadata(Metadata::new(&json!({ "a": 1 })).unwrap());
    let after = change(&tenancy, replaced.name(None).tags(Vec::new())).await;
    assert_eq!(after.metadata, Metadata::new(&json!({ "a": 1 })).unwrap());
    assert_eq!((after.name, after.tags), (None, Vec::new()));
    assert_eq!(tenancy.get(&slug("other")).await.unwrap(), others);
}

#[tokio::test]
async fn concurrent_changes_do_not_undo_each_other() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    let tenancies = [tenancy, db.tenancy().await];
    let changes = (0..12).map(|number| {
        let update = match number {
            0 => TenantUpdate::new().name(Some("Acme".parse().unwrap())),
            1 => TenantUpdate::new().tags(vec!["eu".parse().unwrap()]),
            _ => {
                let key = format!("key-{number}");
                TenantUpdate::new().metadata(Metadata::new(&json!({ key: number })).unwrap())
            }
        };
        change(&tenancies[number % 2], update)
    });
    join_all(changes).await;
    let after = tenancies[0].get(&slug("acme")).await.unwrap().unwrap();
    assert_eq!(after.name.unwrap().as_str(), "Acme");
    assert_eq!((after.tags.len(), after.metadata.as_object().len()), (1, 10));
}

#[tokio::test]
async fn a_change_that_is_not_possible_changes_nothing_and_says_why() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    let half = |key: &str| {
        let value = "x".repeat(Metadata::MAX_BYTES / 2);
        TenantUpdate::new().metadata(Metadata::new(&json!({ key: value })).unwrap())
    };
    let before = change(&tenancy, half("a")).await;
    let update = async |change| tenancy.update(&slug("acme"), change).await.unwrap_err();
    let error = update(half("b").name(Some("Acme".parse().unwrap()))).await;
    assert!(matches!(error, Error::Metadata(MetadataError::TooLarge(_))), "{error}");
    let tags = (0..51).map(|number| format!("t{number}").parse().unwrap()).collect();
    assert!(matches!(update(TenantUpdate::new().tags(tags)).await, Error::TooManyTags(51)));
    assert_eq!(tenancy.get(&slug("acme")).await.unwrap(), Some(before));
    let error = tenancy.update(&slug("nobody"), TenantUpdate::new()).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");

    // Dropping, dropped, and the next one of the slug.
    let dropping = "UPDATE registry.tenants SET status = 'dropping' WHERE slug = 'acme'";
    plain.execute_unprepared(dropping).await.unwrap();
    match update(half("b")).await {
        Error::Unavailable(it) => assert_eq!(it.availability, Availability::Dropped),
        other => panic!("{other}"),
    }
    tenancy.drop(&slug("acme")).await.unwrap();
    assert!(matches!(update(half("b")).await, Error::UnknownTenant(_)));
    let limits = Limits { max_waiting: Some(3), ..Limits::default() };
    let error = tenancy.limit(&slug("acme"), limits).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error}");
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    tenancy.limit(&slug("acme"), limits).await.unwrap();
    change(&tenancy, half("b")).await;
    let rows = "SELECT status || ' ' || coalesce(max_waiting, 0) || ' ' || (metadata ? 'b')
                FROM registry.tenants ORDER BY id";
    assert_eq!(texts(&plain, rows).await, ["dropped 0 false", "active 3 true"]);
}

/// As a migration of the tenant does.
#[tokio::test]
async fn a_change_of_a_locked_tenant_waits_for_it_and_keeps_no_connection_meanwhile() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = tenantry::Config { max_connections: 1, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    for name in ["acme", "other"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let locked = plain.begin().await.unwrap();
    let lock = "SELECT id FROM registry.tenants WHERE slug = 'acme' FOR UPDATE";
    locked.execute_unprepared(lock).await.unwrap();
    let waiting = tokio::spawn({
        let tenancy = tenancy.clone();
        async move { change(&tenancy, TenantUpdate::new().metadata(account("gold", None))).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Another tenant is changed meanwhile, on the same connection.
    tenancy.update(&slug("other"), TenantUpdate::new().name(None)).await.unwrap();
    assert!(!waiting.is_finished());
    locked.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().metadata::<Account>().unwrap().plan, "gold");
}

#[tokio::test]
async fn a_change_is_notified() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    let mut listener = sea_orm::sqlx::postgres::PgListener::connect(&db.url()).await.unwrap();
    listener.listen("tenantry_tenants").await.unwrap();
    let id = change(&tenancy, TenantUpdate::new().metadata(account("gold", None))).await.id;
    eventually("the change is notified", async || {
        let next = tokio::time::timeout(Duration::from_secs(5), listener.recv()).await;
        next.unwrap().unwrap().payload() == id.to_string()
    })
    .await;
}
