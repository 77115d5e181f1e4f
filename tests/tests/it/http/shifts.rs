//! `/guards/{id}/shifts` and `/shifts`.

use serde_json::{Value, json};

use super::{Caller, Site, fields};

const MISSING: &str = "/guards/01a208c3-96c5-77c7-976d-0f6c9d7c9f9e";

#[tokio::test]
async fn a_shift_belongs_to_its_guard() {
    let (_site, one, _) = Site::with_tenants().await;
    let (abu, bea) = (one.guard("Abu", "Guard").await, one.guard("Bea", "Guard").await);
    let answer = one.post(&format!("{abu}/shifts"), hours("08:00", "16:30")).await.is(201);
    let shift = answer.json();
    let path = answer.header("location");
    assert_eq!(path, format!("/shifts/{}", shift["id"].as_str().unwrap()));
    assert_eq!(abu, format!("/guards/{}", shift["guard_id"].as_str().unwrap()));
    assert_eq!(shift["starts_at"], "2026-11-23T08:00:00Z");
    assert_eq!(shift["ends_at"], "2026-11-23T16:30:00Z");
    let other = begin(&one, &bea, "09:00", "10:00").await;

    assert_eq!(one.get(path).await.is(200).json(), shift);
    assert_eq!(starts(&one, &format!("{abu}/shifts")).await, ["08:00"]);
    assert_eq!(starts(&one, &format!("{bea}/shifts")).await, ["09:00"]);
    assert_eq!(starts(&one, "/shifts").await, ["08:00", "09:00"]);
    // The path says whose shifts they are, whatever the query says.
    let bea_id = &bea["/guards/".len()..];
    let both = format!("{abu}/shifts?guard_id={bea_id}");
    assert_eq!(starts(&one, &both).await, ["08:00"]);

    one.delete(path).await.is(204);
    one.get(path).await.problem(404, "not-found");
    one.delete(path).await.problem(404, "not-found");
    one.get(&other).await.is(200);
}

#[tokio::test]
async fn a_moment_may_be_written_in_any_time_zone_and_is_kept_to_the_microsecond() {
    let (_site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    let input = json!({
        "starts_at": "2026-11-23T23:00:00.123456789+05:30",
        "ends_at": "2026-11-24T01:00:00+05:30",
    });
    let answer = one.post(&format!("{abu}/shifts"), input).await.is(201);
    let shift = answer.json();
    assert_eq!(shift["starts_at"], "2026-11-23T17:30:00.123456Z");
    assert_eq!(shift["ends_at"], "2026-11-23T19:30:00Z");
    let read = one.get(answer.header("location")).await.is(200).json();
    assert_eq!(read, shift);
}

#[tokio::test]
async fn a_shift_ends_after_it_starts_and_within_24_hours() {
    let (site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    let shifts = format!("{abu}/shifts");
    let at = |day, time| format!("2026-11-{day}T{time}Z");
    let span = |ends_at| json!({ "starts_at": at(23, "08:00:00"), "ends_at": ends_at });
    let path = one.post(&shifts, span(at(24, "08:00:00"))).await.is(201);
    let path = path.header("location");

    for (ends_at, code) in [
        (at(23, "08:00:00"), "after_start"),
        (at(23, "07:59:59"), "after_start"),
        (at(24, "08:00:00.000001"), "too_long"),
        (at(30, "08:00:00"), "too_long"),
    ] {
        let wanted = fields([("ends_at", code)]);
        let answer = one.post(&shifts, span(ends_at.clone())).await;
        assert_eq!(answer.invalid(), wanted, "POST {ends_at}");
        let answer = one.patch(path, json!({ "ends_at": ends_at })).await;
        assert_eq!(answer.invalid(), wanted, "PATCH {ends_at}");
    }
    // The rule is about the moment that stays as well.
    let late = json!({ "starts_at": at(24, "08:00:00") });
    assert_eq!(one.patch(path, late).await.invalid(), fields([("ends_at", "after_start")]));
    let sql = "SELECT 'one' FROM tenant_1.shifts";
    assert_eq!(site.stored(sql).await, ["one"]);
}

#[tokio::test]
async fn moments_that_are_missing_null_or_no_moments_are_refused() {
    let (_site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    let shifts = format!("{abu}/shifts");
    let path = begin(&one, &abu, "08:00", "16:00").await;
    assert_eq!(
        one.post(&shifts, json!({ "starts_at": null })).await.invalid(),
        fields([("ends_at", "required"), ("starts_at", "required")])
    );
    for input in [json!({ "ends_at": null }), json!({ "ends_at": "noon" }), json!({ "ends_at": 5 })]
    {
        let answer = one.patch(&path, input.clone()).await;
        assert_eq!(answer.invalid(), fields([("ends_at", "type")]), "{input}");
    }
    let answer = one.patch(&path, json!({ "guard_id": abu })).await;
    assert_eq!(answer.invalid(), fields([("guard_id", "unknown")]));
    let neither = json!({ "starts_at": "noon", "ends_at": 5 });
    for answer in [one.post(&shifts, neither.clone()).await, one.patch(&path, neither).await] {
        assert_eq!(answer.invalid(), fields([("ends_at", "type"), ("starts_at", "type")]));
    }
}

#[tokio::test]
async fn a_moment_before_the_calendar_of_postgresql_is_no_fault_of_the_server() {
    let (_site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    let stone_age = json!({
        "starts_at": "-9999-01-01T00:00:00Z",
        "ends_at": "-9999-01-01T01:00:00Z",
    });
    let answer = one.post(&format!("{abu}/shifts"), stone_age).await;
    assert!(answer.status < 500, "{answer:#?}");
    let answer = one.get("/shifts?from=-9999-01-01T00:00:00Z").await;
    assert!(answer.status < 500, "{answer:#?}");
}

#[tokio::test]
async fn one_end_of_a_shift_can_be_moved() {
    let (_site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    let path = begin(&one, &abu, "08:00", "16:00").await;
    let before = one.get(&path).await.is(200).json();
    let change = json!({ "ends_at": "2026-11-23T17:00:00Z" });
    let after = one.patch(&path, change).await.is(200).json();
    assert_eq!(after["starts_at"], before["starts_at"]);
    assert_eq!(after["ends_at"], "2026-11-23T17:00:00Z");
    assert_eq!(after["guard_id"], before["guard_id"]);
    assert_eq!(after["inserted_at"], before["inserted_at"]);
    assert_ne!(after["updated_at"], before["updated_at"]);
    assert_eq!(one.patch(&path, json!({})).await.is(200).json(), after);
    assert_eq!(one.get(&path).await.is(200).json(), after);
}

#[tokio::test]
async fn shifts_are_found_by_the_time_they_overlap() {
    let (_site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    for (from, to) in [("06:00", "08:00"), ("08:00", "12:00"), ("12:00", "14:00")] {
        begin(&one, &abu, from, to).await;
    }
    let at = |time| format!("2026-11-23T{time}:00Z");
    for (query, found) in [
        (format!("from={}", at("08:00")), vec!["08:00", "12:00"]),
        (format!("until={}", at("12:00")), vec!["06:00", "08:00"]),
        (format!("from={}&until={}", at("09:00"), at("10:00")), vec!["08:00"]),
    ] {
        assert_eq!(starts(&one, &format!("/shifts?{query}")).await, found, "{query}");
        let nested = format!("{abu}/shifts?{query}&count=true");
        let page = one.get(&nested).await.is(200).json();
        assert_eq!(page["count"], found.len(), "{nested}");
    }
}

#[tokio::test]
async fn there_are_no_shifts_of_a_guard_who_does_not_exist() {
    let (_site, one, _) = Site::with_tenants().await;
    let shifts = format!("{MISSING}/shifts");
    let day = hours("08:00", "16:00");
    for answer in [one.post(&shifts, day).await, one.get(&shifts).await] {
        let problem = answer.problem(404, "not-found");
        let id = &MISSING["/guards/".len()..];
        let detail = format!("guard {id} not found; GET /guards lists the existing ones");
        assert_eq!(problem["detail"], detail);
    }
}

#[tokio::test]
async fn a_guards_shifts_go_with_the_guard() {
    let (site, one, _) = Site::with_tenants().await;
    let (abu, bea) = (one.guard("Abu", "Guard").await, one.guard("Bea", "Guard").await);
    let gone = begin(&one, &abu, "08:00", "16:00").await;
    let kept = begin(&one, &bea, "09:00", "17:00").await;
    one.delete(&abu).await.is(204);
    one.get(&gone).await.problem(404, "not-found");
    one.get(&kept).await.is(200);
    assert_eq!(starts(&one, "/shifts").await, ["09:00"]);
    let sql = "SELECT 'one' FROM tenant_1.shifts";
    assert_eq!(site.stored(sql).await, ["one"]);
}

/// A shift on the 23rd of November.
fn hours(from: &str, to: &str) -> Value {
    let at = |time| format!("2026-11-23T{time}:00Z");
    json!({ "starts_at": at(from), "ends_at": at(to) })
}

/// Stores a shift and returns its path.
async fn begin(tenant: &Caller, guard: &str, from: &str, to: &str) -> String {
    let shifts = format!("{guard}/shifts");
    let answer = tenant.post(&shifts, hours(from, to)).await.is(201);
    answer.header("location").to_owned()
}

/// The hours at which the shifts of a list begin.
async fn starts(tenant: &Caller, path: &str) -> Vec<String> {
    let page = tenant.get(path).await.is(200).json();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["starts_at"].as_str().unwrap()[11..16].to_owned()).collect()
}
