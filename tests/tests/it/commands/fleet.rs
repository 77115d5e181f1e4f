//! `migration … --all`: every tenant, also past one that fails.

use super::{FIRST, NEWEST, migration, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::{schemas_with, texts},
};

#[tokio::test]
async fn all_goes_on_past_a_tenant_that_fails_and_names_it() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down -n 2 --all").exits(0);
    let plain = db.plain().await;
    assert!(schemas_with(&plain, "guards").await.is_empty());
    texts(&plain, "CREATE TABLE tenant_2.shifts (planted text)").await;

    let ran = migration(&db, "up --all").exits(1).complains([
        "error: tenant-2: ",
        "relation \"shifts\" already exists (SQLSTATE 42P07)",
        "error: 1 failed (tenant-2), 2 done",
    ]);
    let applied = |slug| format!("{slug}: applied {FIRST}\n{slug}: applied {NEWEST}\n");
    assert_eq!(sorted(&ran.stdout), sorted(&(applied("tenant-1") + &applied("tenant-3"))));
    let noted = "SELECT slug || ' ' || migration_attempts || ' ' || (migration_error->>'migration')
                 || ' ' || (migration_error->>'sqlstate') FROM registry.tenants
                 WHERE migration_error->>'at' IS NOT NULL";
    assert_eq!(texts(&plain, noted).await, [format!("tenant-2 1 {NEWEST} 42P07")]);
    // All of a tenant's migrations or none: its guards are not there either.
    assert_eq!(schemas_with(&plain, "guards").await, ["tenant_1", "tenant_3"]);
    assert_eq!(
        versions(&db).await,
        [format!("tenant-1 {NEWEST}"), "tenant-2 -".to_owned(), format!("tenant-3 {NEWEST}"),]
    );
    let columns = "SELECT attname::text FROM pg_attribute
                   WHERE attrelid = 'tenant_2.shifts'::regclass AND attnum > 0";
    assert_eq!(texts(&plain, columns).await, ["planted"]);

    texts(&plain, "DROP TABLE tenant_2.shifts").await;
    let ran = migration(&db, "up --all").exits(0);
    let nothing = |slug| format!("{slug}: nothing to do\n");
    let all = nothing("tenant-1") + &applied("tenant-2") + &nothing("tenant-3");
    assert_eq!(sorted(&ran.stdout), sorted(&all));
    assert_eq!(texts(&plain, noted).await, [""; 0]);
    migration(&db, "status --all").exits(0);
}

#[tokio::test]
async fn a_tenant_whose_schema_is_missing_fails_and_the_others_do_not() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    migration(&db, "down --all").exits(0);
    let plain = db.plain().await;
    texts(&plain, "DROP SCHEMA tenant_1 CASCADE").await;
    for words in ["up --all", "status --all", "up --all --dry-run"] {
        migration(&db, words).exits(1).complains([
            "error: tenant-1: schema \"tenant_1\" does not exist",
            "1 failed (tenant-1), 1 done",
        ]);
    }
    assert_eq!(schemas_with(&plain, "guards").await, ["tenant_2"]);
}

#[tokio::test]
async fn a_record_of_a_migration_that_the_program_does_not_have_is_told() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let sql =
        "INSERT INTO tenant_1.seaql_migrations VALUES ('m20990101_000001_from_the_future', 0)";
    texts(&plain, sql).await;
    for words in ["up --all", "status --all"] {
        migration(&db, words).exits(1).complains([
            "tenant-1",
            "m20990101_000001_from_the_future",
            "1 done",
        ]);
    }
}

#[tokio::test]
async fn without_tenants_there_is_nothing_to_do() {
    let db = TestDb::new().await;
    for words in ["up --all", "down --all", "status --all"] {
        let ran = migration(&db, words).exits(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("there are no tenants\n", ""));
    }
}

/// Tenants are worked on at the same time and tell of it as they end.
fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn after_so_many_failures_no_more_tenants_are_begun() {
    let names = ["tenant-1", "tenant-2", "tenant-3", "tenant-4"];
    let db = with_tenants(names).await;
    migration(&db, "down --all").exits(0);
    let plain = db.plain().await;
    for name in ["tenant_1", "tenant_2"] {
        texts(&plain, &format!("CREATE TABLE {name}.shifts (planted text)")).await;
    }
    let ran = migration(&db, "up --all --jobs 1 --max-failures 2").exits(1);
    let ran = ran.complains(["2 failed (tenant-1, tenant-2), 0 done", "2 not begun"]);
    assert_eq!(ran.stdout, "");
    texts(&plain, "DROP TABLE tenant_1.shifts").await;
    texts(&plain, "DROP TABLE tenant_2.shifts").await;
    migration(&db, "up --all").exits(0);
    migration(&db, "status --all").exits(0);
}

#[tokio::test]
async fn a_busy_tenant_is_tried_again_while_the_others_are_done() {
    use sea_orm::{ConnectionTrait, TransactionTrait};
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down --all").exits(0);
    let plain = db.plain().await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("LOCK TABLE tenant_1.guards").await.unwrap();
    let ran = migration(&db, "up --all --lock-timeout 1").exits(1);
    ran.complains(["error: tenant-1: ", "SQLSTATE 55P03", "1 failed (tenant-1), 2 done"]);
    busy.rollback().await.unwrap();
    migration(&db, "up --all").exits(0);
    assert!(versions(&db).await.iter().all(|version| version.ends_with(NEWEST)));
}
