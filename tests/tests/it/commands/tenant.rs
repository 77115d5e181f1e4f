//! `tenantry tenant create|list|show|domain`.

use serde_json::{Value, json};

use super::{NEWEST, tenantry, with_tenants};
use crate::support::{
    TestDb,
    catalog::{schemas, schemas_with, texts},
    process::Ran,
};

#[tokio::test]
async fn a_tenant_is_created_with_its_schema_and_shown() {
    let db = TestDb::new().await;
    let ran = tenantry(&db, "tenant create tenant-1 --domain b.example.org --domain A.example.org")
        .exits(0);
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["slug", "tenant-1"]);
    assert_eq!(rows[2], ["schema", "tenant_1"]);
    assert_eq!(rows[3], ["status", "active"]);
    assert_eq!(rows[4], ["version", NEWEST]);
    assert_eq!(rows[5], ["domains", "a.example.org", "b.example.org"]);
    assert_eq!(ran.stderr, "");
    let shown = tenantry(&db, "tenant show tenant-1").exits(0);
    assert_eq!(shown.stdout, ran.stdout);
    assert_eq!(schemas_with(&db.plain().await, "guards").await, ["tenant_1"]);
}

#[tokio::test]
async fn tenants_are_listed_as_a_table_in_the_order_of_their_creation() {
    let db = with_tenants(["zebra", "tenant-1"]).await;
    tenantry(&db, "tenant domain add zebra z.example.org").exits(0);
    let ran = tenantry(&db, "tenant list").exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:#?}");
    let columns = |line: usize| -> Vec<&str> { lines[line].split_whitespace().collect() };
    assert_eq!(
        columns(0),
        [
            "SLUG",
            "SCHEMA",
            "STATUS",
            "VERSION",
            "DOMAINS",
            "ALIASES",
            "TAGS",
            "NAME",
            "CREATED",
            "KEPT-UNTIL",
            "REASON"
        ]
    );
    assert_eq!(columns(1)[..5], ["zebra", "zebra", "active", NEWEST, "z.example.org"]);
    assert_eq!(columns(2)[..4], ["tenant-1", "tenant_1", "active", NEWEST]);
    // What is below each other begins below each other.
    let schema = lines[0].find("SCHEMA").unwrap();
    assert!(lines[2][schema..].starts_with("tenant_1"), "{ran:#?}");
}

#[tokio::test]
async fn a_tenant_is_updated() {
    let db = TestDb::new().await;
    let ran = |words: &[&str]| Ran::on("tenantry", &db.url(), words);
    let create = ["tenant", "create", "tenant-1", "--name", "Acme", "--tag", "eu"];
    ran(&[&create[..], &["--metadata", r#"{"plan":"free","seats":3}"#]].concat()).exits(0);
    let update = |words: &[&str]| {
        ran(&[&["tenant", "update", "tenant-1", "--json"], words].concat()).exits(0).json()
    };
    let changed = update(&["--metadata", r#"{"plan":"gold","seats":null}"#]);
    assert_eq!(changed["metadata"], json!({ "plan": "gold" }));
    assert_eq!((&changed["name"], &changed["tags"]), (&json!("Acme"), &json!(["eu"])));
    let changed = update(&["--clear-name", "--tag", "b", "--tag", "canary"]);
    assert_eq!((&changed["name"], &changed["tags"]), (&Value::Null, &json!(["b", "canary"])));
    assert_eq!(update(&["--name", "New", "--clear-tags"])["tags"], json!([]));
    let shown = tenantry(&db, "tenant show tenant-1").exits(0);
    shown.says(["New", r#"{"plan":"gold"}"#]);

    tenantry(&db, "tenant update tenant-1").exits(2).complains(["--clear-tags"]);
    tenantry(&db, "tenant update tenant-1 --name A --clear-name").exits(2);
    tenantry(&db, "tenant update tenant-1 --metadata []").exits(2).complains(["a JSON object"]);
    tenantry(&db, "tenant update tenant-2 --clear-name").exits(1).complains(["not found"]);
}

#[tokio::test]
async fn without_tenants_the_table_is_empty() {
    let db = TestDb::new().await;
    let ran = tenantry(&db, "tenant list").exits(0);
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:#?}");
    assert_eq!(tenantry(&db, "tenant list --json").exits(0).json(), json!([]));
}

#[tokio::test]
async fn json_says_the_same_to_programs() {
    let db = TestDb::new().await;
    let create = "tenant create tenant-1 --domain a.example.org --json";
    let one = tenantry(&db, create).exits(0).json();
    assert_eq!(one["slug"], "tenant-1");
    assert_eq!(one["schema"], "tenant_1");
    assert_eq!(one["status"], "active");
    assert_eq!(one["schema_version"], NEWEST);
    assert_eq!(one["domains"], json!(["a.example.org"]));
    assert!(one["id"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    assert_eq!(tenantry(&db, "tenant show tenant-1 --json").exits(0).json(), one);
    assert_eq!(tenantry(&db, "tenant list --json").exits(0).json(), json!([one]));
    let domains = tenantry(&db, "tenant domain list tenant-1 --json");
    assert_eq!(domains.exits(0).json(), json!(["a.example.org"]));
}

#[tokio::test]
async fn a_tenant_may_have_a_name_and_tags() {
    let db = TestDb::new().await;
    let mut words = vec!["tenant", "create", "acme", "--name", " Acme \"Ltd\" "];
    words.extend(["--tag", "eu", "--tag", "canary", "--tag", "eu"]);
    let ran = Ran::on("tenantry", &db.url(), &words).exits(0);
    let row = |name: &str| {
        let line = ran.stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    assert_eq!((row("name"), row("tags")), ("Acme \"Ltd\"".into(), "canary eu".into()));
    let shown = tenantry(&db, "tenant show acme --json").exits(0).json();
    assert_eq!(
        (&shown["name"], &shown["tags"]),
        (&json!("Acme \"Ltd\""), &json!(["canary", "eu"]))
    );
    tenantry(&db, "tenant list").exits(0).says(["canary eu", "Acme \"Ltd\""]);
    // Where fleet runs look for them; what the application adds there is its own.
    let plain = db.plain().await;
    let found = "SELECT slug FROM registry.tenants WHERE metadata->'tags' ? 'canary'";
    assert_eq!(texts(&plain, found).await, ["acme"]);
    texts(&plain, "UPDATE registry.tenants SET metadata = metadata || '{\"plan\": 1}'").await;
    tenantry(&db, "tenant domain add acme a.example.org").exits(0);
    let kept = "SELECT metadata::text FROM registry.tenants";
    let metadata: Value = serde_json::from_str(&texts(&plain, kept).await[0]).unwrap();
    assert_eq!(metadata, json!({ "name": "Acme \"Ltd\"", "tags": ["canary", "eu"], "plan": 1 }));

    tenantry(&db, "tenant create plain").exits(0);
    let shown = tenantry(&db, "tenant show plain --json").exits(0).json();
    assert_eq!((&shown["name"], &shown["tags"]), (&json!(null), &json!([])));
}

#[tokio::test]
async fn a_name_or_a_tag_that_breaks_a_rule_is_refused_with_it() {
    let db = TestDb::new().await;
    let (long_name, long_tag) = ("n".repeat(201), "t".repeat(64));
    for (option, value, rule) in [
        ("--name", " ", "it is empty"),
        ("--name", "two\nlines", "control characters"),
        ("--name", &long_name, "longer than 200"),
        ("--tag", "", "it is empty"),
        ("--tag", "Canary", "only the lower-case letters"),
        ("--tag", "_eu", "must begin with a letter or a digit"),
        ("--tag", &long_tag, "longer than 63"),
    ] {
        let words = ["tenant", "create", "acme", option, value];
        Ran::on("tenantry", &db.url(), &words).exits(2).complains([rule]);
    }
    let tags = (0..51).map(|number| format!(" --tag t{number}")).collect::<String>();
    let ran = tenantry(&db, &format!("tenant create acme{tags}")).exits(1);
    ran.complains(["51 tags are too many", "at most 50"]);
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn a_schema_can_have_a_prefix() {
    let db = TestDb::new().await;
    tenantry(&db, "tenant create select --schema-prefix t_").exits(0);
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry", "t_select"]);
    // It is that of new tenants only.
    tenantry(&db, "tenant show select").exits(0).says(["t_select"]);
    tenantry(&db, "tenant list --schema-prefix No").exits(2).complains(["--schema-prefix"]);
}

#[tokio::test]
async fn a_taken_slug_is_an_error_and_changes_nothing() {
    let db = with_tenants(["tenant-1"]).await;
    let before = tenantry(&db, "tenant show tenant-1").stdout;
    let ran = tenantry(&db, "tenant create tenant-1 --domain a.example.org").exits(1);
    assert_eq!(ran.stderr, "error: slug tenant-1 is already taken; choose another one\n");
    assert_eq!(ran.stdout, "");
    assert_eq!(tenantry(&db, "tenant show tenant-1").stdout, before);
}

#[tokio::test]
async fn an_unknown_tenant_is_an_error_everywhere() {
    let db = with_tenants(["tenant-1"]).await;
    for words in [
        "show tenant-9",
        "drop tenant-9",
        "drop tenant-9 --yes",
        "domain add tenant-9 a.example.org",
        "domain remove tenant-9 a.example.org",
        "domain list tenant-9",
    ] {
        let ran = tenantry(&db, &format!("tenant {words}")).exits(1);
        assert!(ran.stderr.starts_with("error: tenant \"tenant-9\" not found"), "{words}: {ran:?}");
        assert_eq!(ran.stdout, "", "{words}");
    }
}

#[tokio::test]
async fn a_bad_slug_or_host_name_is_a_wrong_command_line_and_says_which_rule_it_breaks() {
    let db = TestDb::new().await;
    for (words, value, rule) in [
        ("create Tenant", "\"Tenant\"", "only the lower-case letters"),
        ("create www", "\"www\"", "this word is reserved"),
        ("create -- -st", "\"-st\"", "must begin with a letter or a digit"),
        ("show a_b", "\"a_b\"", "only the lower-case letters"),
        ("drop a- --yes", "\"a-\"", "must end with a letter or a digit"),
        ("create ok --domain localhost", "\"localhost\"", "must be a full host name"),
        ("domain add ok a.example.org:80", "\"a.example.org:80\"", "no port"),
    ] {
        tenantry(&db, &format!("tenant {words}")).exits(2).complains([value, rule]);
    }
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn host_names_are_added_listed_and_removed() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let add = "tenant domain add tenant-1";
    let ran = tenantry(&db, &format!("{add} Guards.Example.org.")).exits(0);
    assert_eq!(ran.stdout, "guards.example.org now routes to tenant-1\n");
    tenantry(&db, &format!("{add} a.example.org")).exits(0);
    let list = tenantry(&db, "tenant domain list tenant-1").exits(0);
    assert_eq!(list.stdout, "a.example.org\nguards.example.org\n");
    assert_eq!(tenantry(&db, "tenant domain list tenant-2").exits(0).stdout, "");

    let taken = tenantry(&db, "tenant domain add tenant-2 guards.example.org").exits(1);
    taken.complains([
        "guards.example.org belongs to tenant tenant-1; remove it from that tenant first",
        "(`tenantry tenant domain remove tenant-1 guards.example.org`)",
    ]);
    let created = tenantry(&db, "tenant create tenant-3 --domain guards.example.org").exits(1);
    created.complains(["guards.example.org belongs to tenant tenant-1"]);
    // It has the host name already.
    let again = tenantry(&db, &format!("{add} guards.example.org")).exits(0);
    assert_eq!(again.stdout, "guards.example.org now routes to tenant-1\n");
    let list = tenantry(&db, "tenant domain list tenant-1").exits(0);
    assert_eq!(list.stdout, "a.example.org\nguards.example.org\n");
    let below = tenantry(&db, &format!("{add} tenant-2.localhost")).exits(1);
    below.complains(["tenant-2.localhost is below the base domain"]);
    let not_its = tenantry(&db, "tenant domain remove tenant-2 guards.example.org").exits(1);
    not_its.complains(["tenant-2 does not have hostname guards.example.org"]);

    let removed = tenantry(&db, "tenant domain remove tenant-1 guards.example.org").exits(0);
    assert_eq!(removed.stdout, "guards.example.org no longer routes to tenant-1\n");
    let list = tenantry(&db, "tenant domain list tenant-1").exits(0);
    assert_eq!(list.stdout, "a.example.org\n");
}

#[tokio::test]
async fn a_registry_that_is_not_migrated_is_named_with_what_to_do() {
    let db = TestDb::new().await;
    super::migration(&db, "down --registry").exits(0);
    for words in ["tenant list", "tenant create tenant-1", "serve"] {
        tenantry(&db, words)
            .exits(1)
            .complains(["behind by 1 migrations", "migration up --registry"]);
    }
    super::migration(&db, "up --registry").exits(0);
    tenantry(&db, "tenant create tenant-1").exits(0);
}
