//! One tenant's rows as another tenant sees them: not at all.

use serde_json::json;

use super::Site;

#[tokio::test]
async fn a_tenant_sees_nothing_of_another_tenants_guards() {
    let (_site, one, two) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    two.guard("Bea", "Porter").await;

    two.get(&abu).await.problem(404, "not-found");
    let theft = json!({ "name": "Stolen" });
    two.patch(&abu, theft).await.problem(404, "not-found");
    two.patch(&abu, json!({})).await.problem(404, "not-found");
    two.delete(&abu).await.problem(404, "not-found");
    assert_eq!(two.names("/guards?search=a").await, ["Bea"]);

    assert_eq!(one.names("/guards?search=a").await, ["Abu"]);
    assert_eq!(one.get(&abu).await.is(200).json()["name"], "Abu");
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_another_tenants_shifts() {
    let (_site, one, two) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    let shifts = format!("{abu}/shifts");
    let day = json!({ "starts_at": "2026-11-23T08:00:00Z", "ends_at": "2026-11-23T16:00:00Z" });
    let shift = one.post(&shifts, day.clone()).await.is(201);
    let shift = shift.header("location");

    two.post(&shifts, day).await.problem(404, "not-found");
    two.get(&shifts).await.problem(404, "not-found");
    two.get(shift).await.problem(404, "not-found");
    let theft = json!({ "ends_at": "2026-11-23T17:00:00Z" });
    two.patch(shift, theft).await.problem(404, "not-found");
    two.delete(shift).await.problem(404, "not-found");
    let guard = abu.strip_prefix("/guards/").unwrap();
    let list = format!("/shifts?guard_id={guard}&count=true");
    assert_eq!(
        two.get(&list).await.is(200).json(),
        json!({ "items": [], "next": null, "count": 0 })
    );

    let mine = one.get(shift).await.is(200).json();
    assert_eq!(mine["ends_at"], "2026-11-23T16:00:00Z");
}
