//! The whole story of a tenant, as an operator and a client live it.

use serde_json::json;

use super::{Site, fields, heard};
use crate::support::catalog::{schemas, schemas_with, tables, texts};

#[tokio::test]
async fn a_tenant_is_created_used_and_dropped() {
    let site = Site::new().await;
    let db = site.db.plain().await;

    // A tenant appears together with its schema and tables.
    let created = site.create("tenant-1").await;
    assert_eq!(created["slug"], "tenant-1");
    assert_eq!(created["schema"], "tenant_1");
    assert_eq!(created["status"], "active");
    assert_eq!(schemas(&db).await, ["public", "registry", "tenant_1"]);

    // Abu the Guard is in it, and nowhere else.
    let tenant = site.caller("tenant-1.localhost");
    let abu = tenant.post("/guards", json!({ "name": "Abu", "position": "Guard" })).await.is(201);
    let location = abu.header("location").to_owned();
    let abu = abu.json();
    assert_eq!(location, format!("/guards/{}", abu["id"].as_str().unwrap()));
    assert_eq!(schemas_with(&db, "guards").await, ["tenant_1"]);
    let stored = "SELECT id || ' ' || name || ' ' || position FROM tenant_1.guards";
    let id = abu["id"].as_str().unwrap();
    assert_eq!(texts(&db, stored).await, [format!("{id} Abu Guard")]);
    let tables = tables(&db).await;
    assert!(!tables.iter().any(|table| table.starts_with("public.")), "{tables:?}");

    // He can be found and changed, to something that is valid.
    assert_eq!(tenant.get(&location).await.is(200).json(), abu);
    let changed = json!({ "position": "Captain" });
    let captain = tenant.patch(&location, changed).await.is(200).json();
    assert_eq!(captain["position"], "Captain");
    let wrong = json!({ "name": " ", "position": "x".repeat(201) });
    assert_eq!(
        tenant.patch(&location, wrong).await.invalid(),
        fields([("name", "required"), ("position", "length")])
    );
    assert_eq!(
        tenant.post("/guards", json!({})).await.invalid(),
        fields([("name", "required"), ("position", "required")])
    );
    assert_eq!(
        texts(&db, stored).await,
        [format!("{id} Abu Captain")],
        "what was refused was stored"
    );

    // With the tenant everything is gone.
    let dropped = site.operator("DELETE", "/admin/tenants/tenant-1");
    heard(dropped).await.is(204);
    assert_eq!(schemas(&db).await, ["public", "registry"]);
    assert!(
        texts(&db, "SELECT slug FROM registry.tenants WHERE status <> 'dropped'").await.is_empty()
    );
    tenant.get("/guards").await.problem(404, "unknown-host");

    // The name is free again, and the new tenant has nothing of the old one.
    site.create("tenant-1").await;
    assert!(tenant.names("/guards").await.is_empty());
}
