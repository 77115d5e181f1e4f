//! What `migration` refuses, without touching anything.

use super::{migration, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::{schemas, tables, texts},
    process::Ran,
};

#[tokio::test]
async fn rejects_a_missing_schema_and_creates_nothing() {
    let db = with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    let before = (schemas(&plain).await, tables(&plain).await);
    for words in ["up", "up --dry-run", "down", "status", "fresh --yes"] {
        let ran = migration(&db, &format!("{words} --schema missing")).exits(1);
        ran.complains(["schema \"missing\" does not exist"]);
        assert_eq!((schemas(&plain).await, tables(&plain).await), before, "{words}");
    }
    assert!(!before.1.iter().any(|table| table.starts_with("public.")), "{before:?}");
}

#[tokio::test]
async fn rejects_reserved_schemas() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let before = tables(&plain).await;
    for schema in ["public", "registry", "pg_catalog", "information_schema", "@tenant", "$user", ""]
    {
        let ran = Ran::on("migration", &db.url(), &["up", "--schema", schema]);
        ran.exits(2).complains([&format!("schema name {schema:?} is refused")]);
    }
    assert_eq!(tables(&plain).await, before);
}

#[tokio::test]
async fn rejects_an_unknown_tenant_before_any_change() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let before = versions(&db).await;
    for words in ["down", "down --dry-run", "fresh --yes", "status"] {
        let words = format!("{words} --tenant tenant-1 --tenant tenant-9 --tenant tenant-2");
        let ran = migration(&db, &words).exits(1);
        let ran = ran.complains(["tenant \"tenant-9\" not found", "nothing was changed"]);
        assert_eq!(ran.stdout, "", "{words}");
    }
    assert_eq!(versions(&db).await, before);
}

#[tokio::test]
async fn requires_exactly_one_kind_of_target() {
    let db = with_tenants(["tenant-1"]).await;
    let before = versions(&db).await;
    for command in ["up", "down", "to x", "redo", "fresh --yes"] {
        migration(&db, command).exits(2).complains(["--all", "--only-failed", "Usage:"]);
    }
    for command in ["up", "down", "status", "fresh --yes"] {
        for target in [
            "--all --tenant tenant-1",
            "--all --registry",
            "--schema tenant_1 --tenant tenant-1",
            "--registry --schema tenant_1",
        ] {
            let ran = migration(&db, &format!("{command} {target}")).exits(2);
            ran.complains(["cannot be used with", "Usage:"]);
        }
    }
    for words in ["", "sideways --all", "up --all -n x", "up --all -n -1", "up --tenant NO"] {
        migration(&db, words).exits(2);
    }
    for (option, remedy) in [
        (
            "--max-failures 0",
            "use a positive number of tenants such as 5, or a percentage such as 1%",
        ),
        ("--max-failures 101%", "use a positive number of tenants such as 5"),
        ("--lock-timeout x", "use seconds such as 2 or 0.5"),
        ("--statement-timeout -1", "use seconds such as 2 or 0.5"),
        ("--canary 0", "0 is not in 1.."),
        ("--canary 1 --canary-tag ours", "cannot be used with"),
        ("--canary 1 --registry", "cannot be used with"),
    ] {
        migration(&db, &format!("down --all {option}")).exits(2).complains([remedy]);
    }
    assert_eq!(versions(&db).await, before);
}

#[tokio::test]
async fn reports_a_missing_registry_with_a_remedy() {
    let db = TestDb::new().await;
    texts(&db.plain().await, "DROP SCHEMA registry CASCADE").await;
    for words in ["up --all", "status", "down --tenant tenant-1", "up --all --dry-run"] {
        migration(&db, words)
            .exits(1)
            .complains(["this database has no registry", "migration up --registry"]);
    }
    assert_eq!(schemas(&db.plain().await).await, ["public"]);
}
