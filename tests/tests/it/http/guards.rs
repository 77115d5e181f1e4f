//! `/guards`: storing, changing and deleting one.

use serde_json::{Value, json};

use super::{Site, fields};

#[tokio::test]
async fn white_space_around_the_fields_is_removed() {
    let (site, one, _) = Site::with_tenants().await;
    let input = json!({ "name": " \t Abu \u{3000}", "position": "\nGuard " });
    let abu = one.post("/guards", input).await.is(201).json();
    assert_eq!((&abu["name"], &abu["position"]), (&json!("Abu"), &json!("Guard")));
    let path = format!("/guards/{}", abu["id"].as_str().unwrap());
    let change = json!({ "name": "  Abu Bakr  " });
    let abu = one.patch(&path, change).await.is(200).json();
    assert_eq!(abu["name"], "Abu Bakr");
    let sql = "SELECT '[' || name || '][' || position || ']' FROM tenant_1.guards";
    assert_eq!(site.stored(sql).await, ["[Abu Bakr][Guard]"]);
}

#[tokio::test]
async fn a_change_touches_only_what_was_sent() {
    let (_site, one, _) = Site::with_tenants().await;
    let path = one.guard("Abu", "Guard").await;
    one.guard("Bea", "Porter").await;
    let before = one.get(&path).await.is(200).json();

    let change = json!({ "position": "Captain" });
    let after = one.patch(&path, change).await.is(200).json();
    assert_eq!(after["id"], before["id"]);
    assert_eq!(after["name"], "Abu");
    assert_eq!(after["position"], "Captain");
    assert_eq!(after["inserted_at"], before["inserted_at"]);
    // RFC 3339 in UTC sorts by time.
    let moment = |guard: &Value| guard["updated_at"].as_str().unwrap().to_owned();
    assert!(moment(&after) > moment(&before), "{before} {after}");
    assert_eq!(one.get(&path).await.is(200).json(), after);
    assert_eq!(one.names("/guards").await, ["Abu", "Bea"]);

    // Nothing sent, nothing changed.
    assert_eq!(one.patch(&path, json!({})).await.is(200).json(), after);
}

#[tokio::test]
async fn all_failing_fields_are_reported_at_once() {
    let (site, one, _) = Site::with_tenants().await;
    let path = one.guard("Abu", "Guard").await;
    let long = "ä".repeat(201);
    for (input, wanted) in [
        (json!({ "name": null, "position": "" }), ["required", "required"]),
        (json!({ "name": " \t\n", "position": "a\u{7}b" }), ["required", "control"]),
        (json!({ "name": long, "position": "a\u{0}b" }), ["length", "control"]),
        (json!({ "name": "a\nb", "position": long }), ["control", "length"]),
    ] {
        let wanted = fields([("name", wanted[0]), ("position", wanted[1])]);
        let answer = one.post("/guards", input.clone()).await;
        assert_eq!(answer.invalid(), wanted, "POST {input}");
        let answer = one.patch(&path, input.clone()).await;
        assert_eq!(answer.invalid(), wanted, "PATCH {input}");
    }
    let sql = "SELECT name FROM tenant_1.guards";
    assert_eq!(site.stored(sql).await, ["Abu"]);
}

#[tokio::test]
async fn the_messages_say_which_rule_is_broken() {
    let (_site, one, _) = Site::with_tenants().await;
    for (name, message) in [
        (json!(null), "is required"),
        (json!("  "), "must not be empty"),
        (json!("x".repeat(201)), "must have at most 200 characters"),
        (json!("a\u{1b}[2Jb"), "must not contain control characters"),
    ] {
        let answer = one.post("/guards", json!({ "name": name, "position": "Guard" })).await;
        let error = answer.problem(422, "invalid")["errors"][0].clone();
        assert_eq!(error["message"], message, "{name}");
    }
}

#[tokio::test]
async fn two_hundred_characters_of_any_language_are_stored_as_they_are() {
    let (_site, one, _) = Site::with_tenants().await;
    for name in [
        "守".repeat(200),
        "👮".repeat(200),
        r#"O'Brien "the \ guard"; DROP TABLE guards; --"#.to_owned(),
        r#""@tenant"."guards" $$ /* -- '"#.to_owned(),
    ] {
        let path = one.guard(&name, "Guard").await;
        assert_eq!(one.get(&path).await.is(200).json()["name"], name);
    }
}

#[tokio::test]
async fn fields_that_do_not_exist_or_are_of_the_wrong_type_are_refused_by_name() {
    let (_site, one, _) = Site::with_tenants().await;
    let path = one.guard("Abu", "Guard").await;
    let id = "01a208c3-96c5-77c7-976d-0f6c9d7c9f9e";
    for (input, wanted) in [
        (json!({ "name": "Abu", "position": "Guard", "rank": 1 }), vec![("rank", "unknown")]),
        (
            json!({ "id": id, "updated_at": "2026-11-23T08:00:00Z", "name": "", "position": 1 }),
            vec![
                ("id", "unknown"),
                ("name", "required"),
                ("position", "type"),
                ("updated_at", "unknown"),
            ],
        ),
        (json!({ "name": 5, "position": "Guard" }), vec![("name", "type")]),
        (json!({ "name": 5, "position": ["Guard"] }), vec![("name", "type"), ("position", "type")]),
        (json!({ "name": 5, "position": " " }), vec![("name", "type"), ("position", "required")]),
    ] {
        let wanted: Vec<_> = wanted.into_iter().flat_map(|it| fields([it])).collect();
        let answer = one.post("/guards", input.clone()).await;
        assert_eq!(answer.invalid(), wanted, "POST {input}");
        let answer = one.patch(&path, input.clone()).await;
        assert_eq!(answer.invalid(), wanted, "PATCH {input}");
    }
}

#[tokio::test]
async fn a_deleted_guard_is_gone() {
    let (_site, one, _) = Site::with_tenants().await;
    let abu = one.guard("Abu", "Guard").await;
    one.guard("Bea", "Porter").await;
    assert_eq!(one.delete(&abu).await.is(204).text, "");

    let id = &abu["/guards/".len()..];
    let detail = format!("guard {id} not found; GET /guards lists the existing ones");
    for answer in [
        one.get(&abu).await,
        one.patch(&abu, json!({ "name": "Abu" })).await,
        one.patch(&abu, json!({})).await,
        one.delete(&abu).await,
    ] {
        assert_eq!(answer.problem(404, "not-found")["detail"], detail);
    }
    assert_eq!(one.names("/guards").await, ["Bea"]);
}
