//! The command itself, on this project's own migrations.

use tenantry_migrate::{
    DynMigrator,
    lint::{Profile, check},
};

use crate::support::{TestDb, catalog::schemas, process::Ran};

#[tokio::test]
async fn the_migrations_of_this_project_pass() {
    let test = TestDb::new().await;
    let own = DynMigrator::new(migration::Migrator).names();
    Ran::on("migration", &test.url(), &["check"])
        .exits(0)
        .says([&format!("{} migrations checked: no findings", own.len())]);
    let json = ["check", "--profile", "citus", "--json"];
    let json = Ran::on("migration", &test.url(), &json).exits(0).stdout;
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["migrations"], serde_json::json!(own));
    assert_eq!(report["profile"], "citus");
    assert_eq!(report["findings"], serde_json::json!([]));
}

#[tokio::test]
async fn needs_no_registry_and_no_tenants() {
    let test = TestDb::new().await;
    let db = test.plain().await;
    let schemas_before = schemas(&db).await;
    assert!(
        check(&db, &DynMigrator::new(migration::Migrator), Profile::Citus)
            .await
            .unwrap()
            .is_clean()
    );
    assert_eq!(schemas(&db).await, schemas_before);
}

#[test]
fn rejects_unknown_options() {
    Ran::on("migration", "postgres://none@localhost:1/none", &["check", "--all"])
        .exits(2)
        .complains(["--all"]);
}
