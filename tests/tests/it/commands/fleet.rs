//! `migration … --all`: every tenant, also past one that fails.

use super::{FIRST, NEWEST, migration, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::{schemas_with, texts},
};

#[tokio::test]
async fn all_continues_after_a_failed_tenant() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down -n 2 --all --yes").exits(0);
    let plain = db.plain().await;
    assert!(schemas_with(&plain, "guards").await.is_empty());
    texts(&plain, "CREATE TABLE tenant_2.shifts (planted text)").await;

    let ran = migration(&db, "up --all")
        .exits(1)
        .complains(["error: tenant-2: ", "relation \"shifts\" already exists (SQLSTATE 42P07)"]);
    let applied = |slug| format!("{slug}: applied {FIRST}\n{slug}: applied {NEWEST}\n");
    let (lines, report) = ran.stdout.split_at(ran.stdout.find("2 migrated").unwrap());
    assert_eq!(sorted(lines), sorted(&(applied("tenant-1") + &applied("tenant-3"))));
    assert!(
        report.starts_with("2 migrated, 0 up to date, 1 failed, 0 not started in "),
        "{report}"
    );
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
    assert!(
        ran.stdout.starts_with(&(applied("tenant-2") + "1 migrated, 2 up to date, 0 failed, "))
    );
    assert_eq!(texts(&plain, noted).await, [""; 0]);
    migration(&db, "status --all").exits(0);
}

#[tokio::test]
async fn a_missing_schema_fails_one_tenant_only() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    texts(&plain, "DROP SCHEMA tenant_1 CASCADE").await;
    let missing = "error: tenant-1: schema \"tenant_1\" does not exist";
    // Another tenant serves as an example for all of its version.
    let ran = migration(&db, "up --all --dry-run").exits(1).complains([missing]);
    ran.says(["-- 2 tenants at ", "\"tenant_2\"", "CREATE TABLE \"shifts\""]);
    migration(&db, "status --tenant tenant-1,tenant-2").exits(1).complains([missing]);
    let ran = migration(&db, "up --all").exits(1).complains([missing]);
    ran.says(["1 migrated, 0 up to date, 1 failed", "tenant-2: applied"]);
    assert_eq!(schemas_with(&plain, "guards").await, ["tenant_2"]);
}

#[tokio::test]
async fn reports_an_applied_migration_that_is_unknown() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let sql =
        "INSERT INTO tenant_1.seaql_migrations VALUES ('m20990101_000001_from_the_future', 0)";
    texts(&plain, sql).await;
    let sql = "UPDATE registry.tenants SET schema_version = 'm20990101_000001_from_the_future'
               WHERE slug = 'tenant-1'";
    texts(&plain, sql).await;
    for words in ["up --all", "status --tenant tenant-1,tenant-2"] {
        let ran = migration(&db, words).exits(1);
        ran.complains(["tenant-1", "m20990101_000001_from_the_future"]);
    }
    let ran = migration(&db, "status").exits(1);
    ran.says(["m20990101_000001_from_the_future", "ahead", "1 of 2 tenants up to date"]);
}

#[tokio::test]
async fn succeeds_without_tenants() {
    let db = TestDb::new().await;
    for words in ["up --all", "down --all --yes", "status --all"] {
        let ran = migration(&db, words).exits(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("No tenants.\n", ""));
    }
}

/// Tenants are migrated in parallel, so their lines have no order.
fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn max_failures_stops_starting_tenants() {
    let names = ["tenant-1", "tenant-2", "tenant-3", "tenant-4"];
    let db = with_tenants(names).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    for name in ["tenant_1", "tenant_2"] {
        texts(&plain, &format!("CREATE TABLE {name}.shifts (planted text)")).await;
    }
    let ran = migration(&db, "up --all --jobs 1 --max-failures 2").exits(1);
    let ran = ran.complains(["error: tenant-1: ", "error: tenant-2: "]).says([
        "0 migrated, 0 up to date, 2 failed, 2 not started in ",
        "Too many failures (--max-failures): 2 tenants not started.\n",
        "Fix the cause, then rerun the command.\n",
    ]);
    assert!(!ran.stdout.contains("applied"), "{ran:#?}");
    migration(&db, "up --all --jobs 1 --max-failures 25%")
        .exits(1)
        .says(["1 failed, 3 not started"]);
    texts(&plain, "DROP TABLE tenant_1.shifts").await;
    texts(&plain, "DROP TABLE tenant_2.shifts").await;
    migration(&db, "up --all").exits(0);
    migration(&db, "status --all").exits(0);
}

#[tokio::test]
async fn retries_a_locked_tenant_after_the_others() {
    use sea_orm::{ConnectionTrait, TransactionTrait};
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    let busy = plain.begin().await.unwrap();
    busy.execute_unprepared("LOCK TABLE tenant_1.guards").await.unwrap();
    let ran = migration(&db, "up --all --lock-timeout 0.1").exits(1);
    let ran = ran.complains(["error: tenant-1: ", "(SQLSTATE 55P03)"]);
    ran.says([
        "2 migrated, 0 up to date, 1 failed",
        "SQLSTATE 55P03: canceling statement due to lock",
    ]);
    busy.rollback().await.unwrap();
    migration(&db, "up --all").exits(0);
    assert!(versions(&db).await.iter().all(|version| version.ends_with(NEWEST)));
}

#[tokio::test]
async fn failed_canary_stops_the_run() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3", "tenant-4"]).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    let tag =
        r#"UPDATE registry.tenants SET metadata = '{"tags": ["ours"]}' WHERE slug = 'tenant-3'"#;
    texts(&plain, tag).await;
    for (schema, words) in
        [("tenant_1", "up --all --canary 1"), ("tenant_3", "up --all --canary-tag ours")]
    {
        texts(&plain, &format!("CREATE TABLE {schema}.shifts (planted text)")).await;
        let canary = schema.replace('_', "-");
        migration(&db, words).exits(1).says([
            "0 migrated, 0 up to date, 1 failed, 3 not started in ",
            &format!("Canary {canary} failed: 3 tenants not started.\n"),
            "Fix the cause, then rerun the command.\n",
        ]);
        texts(&plain, &format!("DROP TABLE {schema}.shifts")).await;
    }
    let ran = migration(&db, "up --all --canary-tag theirs").exits(1);
    ran.complains(["no tenant has the tag \"theirs\""]);
    let newest = |versions: Vec<String>| versions.iter().filter(|it| it.ends_with(NEWEST)).count();
    assert_eq!(newest(versions(&db).await), 0);
    // A tenant that fails after the canaries is not reported as one.
    texts(&plain, "CREATE TABLE tenant_4.shifts (planted text)").await;
    let ran = migration(&db, "up --all --canary 2").exits(1);
    assert!(!ran.stdout.contains("canary"), "{ran:#?}");
    assert_eq!(newest(versions(&db).await), 3);
}

#[tokio::test]
async fn only_failed_selects_failed_tenants() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    let ran = migration(&db, "up --only-failed").exits(0);
    assert_eq!(ran.stdout, "No tenant's last migration failed.\n");
    let plain = db.plain().await;
    migration(&db, "down --tenant tenant-1,tenant-2").exits(0);
    texts(&plain, "CREATE TABLE tenant_2.shifts (planted text)").await;
    migration(&db, "up --all").exits(1);
    migration(&db, "down --tenant tenant-1").exits(0);
    texts(&plain, "DROP TABLE tenant_2.shifts").await;
    let ran = migration(&db, "up --all --only-failed --dry-run").exits(0);
    assert!(ran.stdout.starts_with(&format!("-- tenant-2, at {FIRST}\n")), "{ran:#?}");
    let ran = migration(&db, "up --only-failed").exits(0);
    assert!(
        ran.stdout.starts_with(&format!("tenant-2: applied {NEWEST}\n1 migrated, 0 up to date"))
    );
    let at_first = format!("tenant-1 {FIRST}");
    assert_eq!(versions(&db).await[0], at_first);
    migration(&db, "up --only-failed --tenant tenant-1").exits(2);
    migration(&db, "status --only-failed").exits(2);
}

#[tokio::test]
async fn a_run_clears_the_failure_of_a_tenant_that_is_up_to_date() {
    for words in ["up --all", "up --only-failed"] {
        let db = with_tenants(["tenant-1", "tenant-2"]).await;
        let plain = db.plain().await;
        texts(&plain, "CREATE VIEW tenant_2.planted AS SELECT id FROM tenant_2.shifts").await;
        migration(&db, "down --all --yes")
            .exits(1)
            .complains(["error: tenant-2: ", "SQLSTATE 2BP01"]);
        migration(&db, "up --tenant tenant-1").exits(0);
        migration(&db, "status").exits(0).says(["1 failed (up to 1 attempt,", "  tenant-2\n"]);
        migration(&db, words).exits(0);
        let ran = migration(&db, "status").exits(0);
        assert!(!ran.stdout.contains("failed"), "{ran:#?}");
        migration(&db, "up --only-failed").exits(0).says(["No tenant's last migration failed."]);
    }
}
