//! `tenantry tenant adopt`.

use sea_orm::ConnectionTrait;
use tenantry_migrate::Action;

use super::{GUARDS, existing};
use crate::support::{TestDb, catalog::texts, process::Ran, scratch::Scratch};

#[tokio::test]
async fn a_schema_is_adopted_by_command() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    existing(&plain, "Joe's Diner", &Action::Up(None)).await;
    let adopt = |more: &[&str]| {
        let arguments = [&["tenant", "adopt", "joe", "--schema", "Joe's Diner"], more].concat();
        Ran::on("tenantry", &db.url(), &arguments)
    };
    adopt(&["--dry-run"]).exits(0).says([
        "schema Joe's Diner would be adopted as tenant joe at m2026",
        "nothing was changed",
    ]);
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);
    adopt(&["--name", "Joe", "--domain", "joe.example.org", "--tag", "canary"]).exits(0).says([
        "Joe's Diner",
        "joe.example.org",
        "canary",
        "active",
    ]);
    adopt(&[]).exits(1).complains(["schema \"Joe's Diner\" belongs to tenant joe already"]);
    Ran::on("tenantry", &db.url(), &["tenant", "adopt", "joe"]).exits(2).complains(["--schema"]);
    Ran::on("tenantry", &db.url(), &["tenant", "adopt", "joe", "--schema", "public"])
        .exits(2)
        .complains(["\"public\" is refused"]);
}

#[tokio::test]
async fn differences_are_printed_and_may_be_allowed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    existing(&plain, "acme", &Action::Up(None)).await;
    plain.execute_unprepared("CREATE TABLE acme.ar_internal_metadata (key text)").await.unwrap();
    let adopt = |more: &[&str]| {
        let arguments = [&["tenant", "adopt", "acme", "--schema", "acme"], more].concat();
        Ran::on("tenantry", &db.url(), &arguments)
    };
    for more in [&[][..], &["--dry-run"]] {
        adopt(more).exits(1).says(["+ table ar_internal_metadata (key)"]).complains([
            "schema \"acme\" differs from what the migrations create",
            "in 1 place; nothing was changed",
            "(`--allow-differences`, `--allow FILE`)",
        ]);
    }
    adopt(&["--json"]).exits(1).says(["\"change\":", "\"ar_internal_metadata\""]);
    let folder = Scratch::new();
    let file = folder.path().join("allowed.json");
    std::fs::write(&file, "[{").unwrap();
    let file = file.to_str().unwrap();
    adopt(&["--allow", file]).exits(1).complains(["allowed.json: invalid allowlist"]);
    let allowed = r#"[{ "change": "extra", "object": "table", "name": "ar_internal_metadata",
        "reason": "of Rails" }]"#;
    std::fs::write(file, allowed).unwrap();
    adopt(&["--allow", file, "--dry-run", "--json"]).exits(0).says(["\"dry_run\": true"]);
    adopt(&["--allow-differences"]).exits(0).says(["+ table ar_internal_metadata (key)", "active"]);
}

#[tokio::test]
async fn an_application_s_schema_is_moved_by_command() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    existing(&plain, "app", &Action::Up(Some(1))).await;
    let adopt = |more: &[&str]| {
        let arguments = [&["tenant", "adopt", "acme", "--from", "app"], more].concat();
        Ran::on("tenantry", &db.url(), &arguments)
    };
    adopt(&["--dry-run", "--at", GUARDS])
        .exits(0)
        .says(["the objects of app would be moved to acme as tenant acme at m20261123_000001"]);
    adopt(&[]).exits(0).says(["acme", GUARDS]);
    Ran::on("migration", &db.url(), &["up", "--all"]).exits(0);
    Ran::on("migration", &db.url(), &["verify", "--all"]).exits(0);
}

#[tokio::test]
async fn a_creation_that_meets_a_schema_names_adopting() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    existing(&plain, "acme", &Action::Up(None)).await;
    let ran = Ran::on("tenantry", &db.url(), &["tenant", "create", "acme"]).exits(1).complains([
        "schema \"acme\" exists but belongs to no tenant; adopt it as the schema of this tenant",
        "(`tenantry tenant adopt SLUG --schema acme`)",
    ]);
    assert!(!ran.stderr.contains("RENAME"), "{}", ran.stderr);
    Ran::on("tenantry", &db.url(), &["tenant", "adopt", "acme", "--schema", "acme"]).exits(0);
}
