//! `migration up`, `down` and `list`.

use super::{FIRST, NEWEST, migration, rows, tenantry, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::{schemas, schemas_with, shape, tables, texts},
    process::Ran,
};

#[tokio::test]
async fn list_needs_no_database() {
    let ran = Ran::on("migration", "postgres://none@localhost:1/none", &["list"]).exits(0);
    assert_eq!(ran.stdout, format!("{FIRST}\n{NEWEST}\n"));
}

#[tokio::test]
async fn list_of_a_target_shows_applied_and_pending() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    migration(&db, "down --tenant tenant-2").exits(0);
    let header = "TENANT MIGRATION STATE".to_owned();
    let state = |name, migration, state| format!("{name} {migration} {state}");
    assert_eq!(
        rows(&migration(&db, "list --all").exits(0)),
        [
            header.clone(),
            state("tenant-1", FIRST, "applied"),
            state("tenant-1", NEWEST, "applied"),
            state("tenant-2", FIRST, "applied"),
            state("tenant-2", NEWEST, "pending"),
        ]
    );
    let of_registry = tenantry_migrate::registry::migrator().names();
    let of_registry = of_registry.iter().map(|name| state("registry", name, "applied"));
    assert_eq!(
        rows(&migration(&db, "list --registry").exits(0)),
        [header].into_iter().chain(of_registry).collect::<Vec<_>>()
    );
    migration(&db, "list --schema missing").exits(1).complains(["\"missing\" does not exist"]);
    migration(&db, "list --all --registry").exits(2);
}

#[tokio::test]
async fn rolls_a_tenant_back_and_forth_and_updates_the_registry() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let whole = shape(&plain, "tenant_1").await;

    let ran = migration(&db, "down --tenant tenant-1").exits(0);
    assert_eq!(ran.stdout, format!("tenant-1: rolled back {NEWEST}\n"));
    assert_eq!(schemas_with(&plain, "shifts").await, ["tenant_2"]);
    assert_eq!(schemas_with(&plain, "guards").await, ["tenant_1", "tenant_2"]);
    assert_eq!(versions(&db).await, [format!("tenant-1 {FIRST}"), format!("tenant-2 {NEWEST}")]);

    let ran = migration(&db, "down -n 5 --tenant tenant-1").exits(0);
    assert_eq!(ran.stdout, format!("tenant-1: rolled back {FIRST}\n"));
    assert_eq!(schemas_with(&plain, "guards").await, ["tenant_2"]);
    assert_eq!(versions(&db).await[0], "tenant-1 -");
    let ran = migration(&db, "down --tenant tenant-1").exits(0);
    assert_eq!(ran.stdout, "tenant-1: nothing to do\n");

    let ran = migration(&db, "up -n 1 --tenant tenant-1").exits(0);
    assert_eq!(ran.stdout, format!("tenant-1: applied {FIRST}\n"));
    assert_eq!(versions(&db).await[0], format!("tenant-1 {FIRST}"));
    let ran = migration(&db, "up --tenant tenant-1").exits(0);
    assert_eq!(ran.stdout, format!("tenant-1: applied {NEWEST}\n"));
    assert_eq!(versions(&db).await[0], format!("tenant-1 {NEWEST}"));
    assert_eq!(shape(&plain, "tenant_1").await, whole);
    let ran = migration(&db, "up --tenant tenant-1").exits(0);
    assert_eq!(ran.stdout, "tenant-1: nothing to do\n");
}

#[tokio::test]
async fn accepts_repeated_and_comma_separated_tenants() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3", "tenant-4"]).await;
    let ran = migration(&db, "down --tenant tenant-3,tenant-1 --tenant tenant-4 --tenant tenant-1");
    let ran = ran.exits(0);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.pop().unwrap().starts_with("3 rolled back, 0 unchanged, 0 failed"));
    lines.sort_unstable();
    let wanted = ["tenant-1", "tenant-3", "tenant-4"];
    assert_eq!(lines, wanted.map(|slug| format!("{slug}: rolled back {NEWEST}")));
    assert_eq!(schemas_with(&db.plain().await, "shifts").await, ["tenant_2"]);
}

#[tokio::test]
async fn status_of_an_empty_schema_creates_nothing() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA bare").await;
    let before = tables(&plain).await;
    let ran = migration(&db, "status --schema bare").exits(1);
    ran.says(["bare", FIRST, NEWEST]);
    migration(&db, "up --schema bare --dry-run").exits(0);
    assert_eq!(tables(&plain).await, before);
}

#[tokio::test]
async fn migrates_a_schema_without_a_tenant() {
    let db = with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    texts(&plain, "CREATE SCHEMA bare").await;
    let ran = migration(&db, "up --schema bare").exits(0);
    assert_eq!(ran.stdout, format!("bare: applied {FIRST}\nbare: applied {NEWEST}\n"));
    assert_eq!(shape(&plain, "bare").await, shape(&plain, "tenant_1").await);
    assert_eq!(versions(&db).await, [format!("tenant-1 {NEWEST}")]);
    migration(&db, "down -n 2 --schema bare").exits(0);
    assert_eq!(tables(&plain).await.iter().filter(|it| it.starts_with("bare.")).count(), 1);
}

#[tokio::test]
async fn migrating_a_tenant_by_schema_updates_the_registry() {
    let db = with_tenants(["tenant-1"]).await;
    migration(&db, "down --schema tenant_1").exits(0);
    assert_eq!(versions(&db).await, [format!("tenant-1 {FIRST}")]);
    migration(&db, "up --schema tenant_1").exits(0);
    assert_eq!(versions(&db).await, [format!("tenant-1 {NEWEST}")]);
}

#[tokio::test]
async fn registry_is_created_in_an_empty_database_and_removed_only_without_tenants() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    texts(&plain, "DROP SCHEMA registry CASCADE").await;
    migration(&db, "status --registry").exits(1);
    migration(&db, "up --registry").exits(0).says(["create_tenants", "create_domains"]);
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    tenantry(&db, "tenant create tenant-1").exits(0);

    let before = tables(&plain).await;
    for words in ["down --registry", "fresh --registry --yes"] {
        migration(&db, words).exits(1).complains(["the registry still contains 1 tenants"]);
    }
    assert_eq!(tables(&plain).await, before);
    tenantry(&db, "tenant drop tenant-1 --yes").exits(0);
    migration(&db, "down -n 100 --registry").exits(0);
    assert!(schemas_with(&plain, "tenants").await.is_empty());
}
