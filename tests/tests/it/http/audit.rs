//! The audit log over HTTP.

use serde_json::json;

use super::{Site, heard};

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
