//! The `migration` command of an application with shared tables.

use serde_json::json;
use tenantry_registry::tenant;

use super::*;
use crate::support::{
    catalog::{schemas, texts},
    process::{Ran, program_on},
};

/// Runs the command of an application with this number of shared migrations.
fn migration(db: &TestDb, shared: u32, words: &str) -> Ran {
    let words: Vec<&str> = words.split(' ').collect();
    let mut command = program_on("library-migration", &db.url(), &words);
    Ran::of(command.env("LIBRARY_SHARED", shared.to_string()))
}

#[tokio::test]
async fn up_migrates_the_registry_and_then_the_shared_tables() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    migration(&db, 1, "status").exits(1).says(["Shared tables in schema shared: 1 behind (none)"]);
    let dry = migration(&db, 1, "up --registry --dry-run").exits(0);
    dry.says(["-- shared\nBEGIN;\nCREATE SCHEMA IF NOT EXISTS \"shared\";", "CREATE TABLE plans"]);
    assert!(!schemas(&plain).await.contains(&"shared".to_owned()));
    migration(&db, 1, "verify --all").exits(1).complains(["migration up --registry"]);

    let up = migration(&db, 1, "up --registry").exits(0);
    up.says(["registry: nothing to do\nshared: applied s1_plans\n"]);
    migration(&db, 1, "up --registry").exits(0).says(["shared: nothing to do"]);
    let up = migration(&db, 2, "up --registry --json").exits(0);
    assert_eq!(up.stdout.matches("\"summary\"").count(), 1, "{up:#?}");
    assert!(up.stdout.contains("s2_name"), "{up:#?}");
    migration(&db, 2, "status").exits(0).says(["up to date (s2_name)", "No tenants."]);
    let status = migration(&db, 2, "status --json").exits(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["shared"], json!({"schema": "shared", "version": "s2_name", "pending": []}));
    let newest = tenantry_migrate::registry::migrator().latest().unwrap();
    migration(&db, 2, "status --registry").exits(0).says([&newest, "s2_name"]);
    migration(&db, 2, "list --shared").exits(0).says(["shared", "s1_plans", "applied"]);

    // Tenants' tables refer to the shared ones.
    let tenant = "INSERT INTO registry.tenants (id, slug, schema, status, metadata, inserted_at,
        updated_at) VALUES (gen_random_uuid(), 'acme', 'acme', 'active', '{}', now(), now())";
    texts(&plain, tenant).await;
    texts(&plain, "CREATE SCHEMA acme").await;
    migration(&db, 2, "up --all").exits(0).says(["acme: applied m7_plan"]);
    migration(&db, 2, "verify --all").exits(0).says(["2 schemas checked: 2 match"]);
    migration(&db, 2, "verify --shared").exits(0).says(["1 schema checked"]);
    let schema: Vec<String> = texts(&plain, "SELECT schema FROM registry.tenants").await;
    assert_eq!(schema, ["acme"], "{:?}", tenant::Status::Active);
}

#[tokio::test]
async fn down_and_fresh_change_the_shared_tables_alone() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    migration(&db, 2, "up --registry").exits(0);
    migration(&db, 2, "redo --shared").exits(1).complains(["shared: ", "s2_name"]);
    texts(&plain, "INSERT INTO shared.plans (id) VALUES (gen_random_uuid())").await;
    migration(&db, 2, "fresh --shared").exits(1).complains(["--yes"]);
    assert_eq!(texts(&plain, "SELECT id::text FROM shared.plans").await.len(), 1);
    migration(&db, 2, "fresh --shared --yes").exits(0).says(["shared: applied s1_plans"]);
    assert!(texts(&plain, "SELECT id::text FROM shared.plans").await.is_empty());
    migration(&db, 2, "up --shared --registry").exits(2);
    for words in ["up", "up --dry-run", "status", "fresh --yes --cascade"] {
        let ran = migration(&db, 2, &format!("{words} --schema shared")).exits(1);
        ran.complains(["Use --shared"]);
    }
    migration(&db, 2, "verify --schema shared").exits(0).says(["1 schema checked: 1 match"]);
    migration(&db, 2, "check").exits(1).says(["6 migrations checked"]);
}

#[tokio::test]
async fn an_application_without_shared_tables_says_so() {
    let db = TestDb::new().await;
    for words in ["up --shared", "status --shared", "verify --shared"] {
        let ran = migration(&db, 0, words).exits(1);
        let text = ["no shared tables", "no tables that exist once"];
        assert!(text.iter().any(|text| ran.stderr.contains(text)), "{ran:#?}");
    }
    migration(&db, 0, "up --registry").exits(0).says(["registry: nothing to do"]);
    assert!(!schemas(&db.plain().await).await.contains(&"shared".to_owned()));
}
