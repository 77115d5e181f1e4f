//! Moments at the edges of what RFC 3339, chrono and PostgreSQL can write.

use serde_json::{Value, json};

use super::{Answer, Caller, Site, fields};

#[tokio::test]
async fn a_leap_second_is_the_second_after_it() {
    let (_site, one, _) = Site::with_tenants().await;
    let shifts = format!("{}/shifts", one.guard("Abu", "Guard").await);
    for (starts_at, ends_at, stored) in [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:01Z", ["2017-01-01T00:00:00Z"; 2]),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:01Z", ["2017-01-01T00:00:00.500Z"; 2]),
        ("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:01Z", ["2017-01-01T00:00:00Z"; 2]),
        (
            "2016-12-31T23:59:60.9999999Z",
            "2017-01-01T00:00:01Z",
            ["2017-01-01T00:00:00.999999Z"; 2],
        ),
    ] {
        let answer = one.post(&shifts, shift(starts_at, ends_at)).await.is(201);
        let path = answer.header("location").to_owned();
        let [wanted, _] = stored;
        assert_eq!(answer.json()["starts_at"], wanted, "{starts_at}");
        let patched = one.patch(&path, json!({ "starts_at": starts_at })).await.is(200);
        assert_eq!(patched.json()["starts_at"], wanted, "{starts_at}");
        assert_eq!(one.get(&path).await.is(200).json()["starts_at"], wanted, "{starts_at}");
    }
    // No moment lies between it and the second after it.
    for (starts_at, ends_at) in [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
    ] {
        let answer = one.post(&shifts, shift(starts_at, ends_at)).await;
        assert_eq!(answer.invalid(), fields([("ends_at", "after_start")]), "{starts_at}");
    }
    let day = shift("2016-12-31T00:00:00Z", "2016-12-31T23:59:60Z");
    one.post(&shifts, day).await.is(201);
    let longer = shift("2016-12-30T23:59:59Z", "2016-12-31T23:59:60Z");
    let answer = one.post(&shifts, longer).await;
    assert_eq!(answer.invalid(), fields([("ends_at", "too_long")]));
    for (query, found) in [
        ("from=2016-12-31T23:59:60Z", 4),
        ("until=2016-12-31T23:59:60Z", 1),
        ("from=2016-12-31T23:59:60.999999999Z&until=2016-12-31T23:59:60.0000001Z", 0),
    ] {
        let page = one.get(&format!("/shifts?{query}&count=true")).await.is(200).json();
        assert_eq!(page["count"], found, "{query}");
    }
}

#[tokio::test]
async fn every_moment_is_stored_as_it_was_or_refused_as_invalid() {
    let (_site, one, _) = Site::with_tenants().await;
    let shifts = format!("{}/shifts", one.guard("Abu", "Guard").await);
    for (starts_at, ends_at, stored) in [
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000001Z", "0000-01-01T00:00:00Z"),
        (
            "9999-12-31T23:59:59.999998Z",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59.999998Z",
        ),
        ("2026-11-23T08:00:00+23:59", "2026-11-22T08:02:00Z", "2026-11-22T08:01:00Z"),
        ("2026-11-23T08:00:00-23:59", "2026-11-24T08:00:00Z", "2026-11-24T07:59:00Z"),
        ("1969-12-31T23:59:59.9999999Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"),
        ("1999-12-31T23:59:59.9999999Z", "2000-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z"),
    ] {
        let answer = one.post(&shifts, shift(starts_at, ends_at)).await.is(201);
        let read = one.get(answer.header("location")).await.is(200).json();
        assert_eq!(read, answer.json());
        assert_eq!(read["starts_at"], stored, "{starts_at}");
    }
    for moment in [
        "0000-01-01T00:00:00+00:01",
        "-0001-12-31T23:59:59Z",
        "-4713-01-01T00:00:00Z",
        "-4714-11-23T23:59:59Z",
        "-262143-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-23:59",
        "+10000-01-01T00:00:00Z",
        "+262142-12-31T23:59:60Z",
    ] {
        for code in refused(&one, &shifts, moment).await {
            assert_eq!(code, "range", "{moment}");
        }
    }
    for moment in [
        "+262143-01-01T00:00:00Z",
        "-262144-01-01T00:00:00Z",
        "+262142-12-31T23:59:59-23:59",
        "-262143-01-01T00:00:00+23:59",
        "+294277-01-01T00:00:00Z",
        "99999999999999-01-01T00:00:00Z",
        "2026-11-23T08:00:00+24:00",
        "2026-11-23T08:00:00-99:99",
        "2026-11-23T08:00:00+08:60",
        "2026-11-23T24:00:00Z",
        "2026-11-23T08:00:61Z",
        "2026-02-30T08:00:00Z",
        "2026-11-23T08:00:00",
        "infinity",
        "-infinity",
        "now",
        "",
        "\u{0}",
    ] {
        for code in refused(&one, &shifts, moment).await {
            assert_eq!(code, "type", "{moment}");
        }
    }
}

#[tokio::test]
async fn a_list_takes_every_moment_that_can_be_read() {
    let (_site, one, _) = Site::with_tenants().await;
    let shifts = format!("{}/shifts", one.guard("Abu", "Guard").await);
    let day = shift("2026-11-23T08:00:00Z", "2026-11-23T16:00:00Z");
    one.post(&shifts, day).await.is(201);
    for (moment, before) in [
        ("-262143-01-01T00:00:00Z", true),
        ("-4714-01-01T00:00:00Z", true),
        ("0000-01-01T00:00:00Z", true),
        ("2016-12-31T23:59:60Z", true),
        ("2026-11-23T08:00:00.000000001%2B23:59", true),
        ("9999-12-31T23:59:60Z", false),
        ("%2B10000-01-01T00:00:00Z", false),
        ("%2B262142-12-31T23:59:60Z", false),
    ] {
        let counted = async |parameter: &str| {
            let page = one.get(&format!("/shifts?{parameter}={moment}&count=true")).await;
            page.is(200).json()["count"] == 1
        };
        assert_eq!([counted("from").await, counted("until").await], [before, !before], "{moment}");
    }
    for moment in ["%2B262143-01-01T00:00:00Z", "2026-11-23T08:00:00%2B24:00", "infinity", "%00"] {
        for parameter in ["from", "until"] {
            let answer = one.get(&format!("/shifts?{parameter}={moment}")).await;
            answer.problem(400, "malformed");
        }
    }
}

fn shift(starts_at: &str, ends_at: &str) -> Value {
    json!({ "starts_at": starts_at, "ends_at": ends_at })
}

/// The codes by which a moment is refused in each place that takes one.
async fn refused(tenant: &Caller, shifts: &str, moment: &str) -> Vec<String> {
    let day = shift("2026-11-23T08:00:00Z", "2026-11-23T16:00:00Z");
    let path = tenant.post(shifts, day).await.is(201).header("location").to_owned();
    let ends_late = shift("2026-11-23T08:00:00Z", moment);
    let answers: [Answer; 3] = [
        tenant.post(shifts, shift(moment, "2026-11-23T16:00:00Z")).await,
        tenant.post(shifts, ends_late).await,
        tenant.patch(&path, json!({ "starts_at": moment })).await,
    ];
    tenant.delete(&path).await.is(204);
    let codes = answers.map(|answer| {
        let errors = answer.invalid();
        // A moment that is far too late or early may break the rule about both as well.
        let about = |(_, code): &&(String, String)| !["too_long", "after_start"].contains(&&**code);
        let codes: Vec<_> = errors.iter().filter(about).map(|(_, code)| code.clone()).collect();
        assert_eq!(codes.len(), 1, "{moment}: {errors:?}");
        codes[0].clone()
    });
    codes.to_vec()
}
