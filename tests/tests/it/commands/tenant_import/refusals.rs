//! Lines that are refused, with their numbers and the reasons.

use serde_json::{Value, json};

use super::Import;
use crate::support::catalog::schemas;

/// A line of every kind that is refused, between some that are not.
const CSV: &str = "name,slug,tags,domain
Good,good-1,eu,good-1.example.org
Capital,Foo!,,
Reserved,www,,
Empty,,,
Word,select,,

Tag,tag,Not_A_Tag,
Host,host,,localhost
Below,below,,x.localhost
Both,both,_a b,a..b
Cells,cells
\"Open
 name\",lines,,
Twice,good-1,eu,good-1.example.org
Same host,good-2,,good-2.example.org good-1.example.org
Left over,left-over,,
Differs,there,eu,there.example.org
Host is taken,good-3,,there-1.example.org
Good,good-4,,
";

const REASONS: [(u64, &str, &str); 14] = [
    (3, "Foo!", "only the lower-case letters a to z, digits and hyphens are allowed"),
    (4, "www", "this word is reserved; choose another"),
    (5, "", "it is empty; write 1 to 48 characters such as tenant-1"),
    (6, "select", "schema name \"select\" is refused: "),
    (8, "tag", "tag \"Not_A_Tag\" is refused: only the lower-case letters"),
    (9, "host", "host name \"localhost\" is refused: it must be a full host name"),
    (10, "below", "hostname x.localhost is below the base domain"),
    (
        11,
        "both",
        "host name \"a..b\" is refused: each part between the dots must have 1 to 63 \
                  characters; tag \"_a\" is refused: it must begin with a letter or a digit",
    ),
    (12, "cells", "expected 4 cells, found 2"),
    (13, "lines", "name spans several lines; is a quote not closed?"),
    (15, "good-1", "this slug is on line 2 already"),
    (16, "good-2", "the host name good-1.example.org is on line 2 already"),
    (17, "left-over", "schema \"left_over\" exists but belongs to no tenant"),
    (
        18,
        "there",
        "a tenant with this slug exists, but its name is none, not \"Differs\", its host \
                   names are there-1.example.org there-2.example.org, not there.example.org, its \
                   tags are none, not eu",
    ),
];

const TAKEN: (u64, &str, &str) = (
    19,
    "good-3",
    "hostname there-1.example.org is already taken; remove it from its tenant first",
);

async fn prepared() -> Import {
    let import = Import::new().await;
    let create = "tenant create there --domain there-2.example.org --domain there-1.example.org";
    super::super::tenantry(&import.db, create).exits(0);
    crate::support::catalog::texts(&import.db.plain().await, "CREATE SCHEMA left_over").await;
    import
}

/// Line, slug and reason of each refused line of `--json`, in the file's order; and the sum.
fn refused(stdout: &str) -> (Vec<(u64, String, String)>, Value) {
    let mut lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = lines.pop().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut refused: Vec<_> = lines
        .iter()
        .map(|it| (it["line"].as_u64().unwrap(), text(&it["slug"]), text(&it["reason"])))
        .collect();
    refused.sort_unstable();
    (refused, sum)
}

#[tokio::test]
async fn every_rejected_line_is_reported_with_its_number_and_the_others_are_imported() {
    let import = prepared().await;
    // What a dry run says, the run does.
    let dry = import.run("tenants.csv", CSV, &["--dry-run", "--json"]).exits(1);
    let (foreseen, sum) = refused(&dry.stdout);
    let wanted = json!({
        "created": 2, "already_existed": 0, "rejected": 15, "dry_run": true, "interrupted": false,
    });
    assert_eq!(sum, wanted);
    let before = ["left_over", "public", "registry", "there"];
    assert_eq!(schemas(&import.db.plain().await).await, before);

    let ran = import.run("tenants.csv", CSV, &["--json"]).exits(1);
    assert_eq!(ran.stderr, "");
    let (found, sum) = refused(&ran.stdout);
    assert_eq!((&sum["created"], &sum["dry_run"]), (&json!(2), &json!(false)));
    assert_eq!(found, foreseen);
    for ((line, slug, reason), (number, name, part)) in
        found.iter().zip(REASONS.into_iter().chain([TAKEN]))
    {
        assert_eq!((line, slug.as_str()), (&number, name), "{reason}");
        assert!(reason.starts_with(part), "line {line}: {reason}");
    }
    assert_eq!(found.len(), REASONS.len() + 1);
    let wanted = [
        "good-1 Good [\"eu\"] good-1.example.org",
        "good-4 Good",
        "there there-1.example.org there-2.example.org",
    ];
    assert_eq!(import.tenants().await, wanted);
    let after = ["good_1", "good_4", "left_over", "public", "registry", "there"];
    assert_eq!(schemas(&import.db.plain().await).await, after);
}

#[tokio::test]
async fn rejected_lines_go_to_standard_error_and_the_summary_to_standard_output() {
    let import = prepared().await;
    let ran = import.run("tenants.csv", CSV, &[]).exits(1);
    assert_eq!(ran.stdout, "2 created, 0 already existed, 15 rejected\n");
    let ran = ran.complains([
        "line 3: slug \"Foo!\": only the lower-case letters",
        "line 19: slug \"good-3\": hostname there-1.example.org is already taken",
    ]);
    assert_eq!(ran.stderr.lines().count(), 15, "{ran:#?}");
    let again = import.run("tenants.csv", CSV, &[]).exits(1);
    assert_eq!(again.stdout, "0 created, 2 already existed, 15 rejected\n");
}

#[tokio::test]
async fn lines_of_json_are_refused_one_by_one() {
    let import = Import::new().await;
    let tags: Vec<String> = (0..51).map(|number| format!("t{number}")).collect();
    let lines = [
        json!({ "slug": "good" }).to_string(),
        json!({ "slug": "plan", "plan": "gold" }).to_string(),
        "{\"slug\": \"cut".to_owned(),
        "[\"list\"]".to_owned(),
        json!({ "name": "No slug" }).to_string(),
        json!({ "slug": "good" }).to_string(),
        json!({ "slug": "tags", "tags": tags }).to_string(),
        json!({ "slug": "name", "name": " " }).to_string(),
        json!({ "slug": "\u{1b}[31mred" }).to_string(),
        json!({ "slug": "a".repeat(10_000) }).to_string(),
    ];
    let ran = import.run("tenants.jsonl", lines.join("\n"), &["--jobs", "1"]).exits(1);
    let refusals: Vec<&str> = ran.stderr.lines().collect();
    for (refusal, wanted) in refusals.iter().zip([
        "line 2: slug \"plan\": unknown field `plan`",
        "line 3: not JSON: EOF while parsing a string at column ",
        "line 4: not a JSON object",
        "line 5: missing field `slug`",
        "line 6: slug \"good\": this slug is on line 1 already",
        "line 7: slug \"tags\": 51 tags are too many; a tenant has at most 50",
        "line 8: slug \"name\": name \" \" is refused: it is empty",
        "line 9: slug \"\\u{1b}[31mred\": only the lower-case letters",
        &format!("line 10: slug \"{}…\": it is longer than 48", "a".repeat(80)),
    ]) {
        assert!(refusal.starts_with(wanted), "{refusal} is not {wanted}");
    }
    assert_eq!(refusals.len(), 9, "{ran:#?}");
    assert_eq!(ran.stdout, "1 created, 0 already existed, 9 rejected\n");
}

#[tokio::test]
async fn a_wrong_header_is_reported_before_anything_is_created() {
    let import = Import::new().await;
    for (header, said) in [
        ("name,domain", "the header line has no column `slug`"),
        ("slug,plan", "the header line has an unknown column \"plan\"; the columns are"),
        ("slug,name,name", "the header line has the column `name` twice"),
        ("", "the file is empty"),
    ] {
        let text = format!("{header}\nacme,acme,acme\n");
        let text = if header.is_empty() { "" } else { &text };
        let ran = import.run("tenants.csv", text, &["--json"]).exits(1).complains([said]);
        assert!(ran.stderr.starts_with("error: /"), "{ran:#?}");
        assert!(ran.stderr.contains("/tenants.csv: "), "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    assert_eq!(import.count().await, 0);
}
