//! `migration status`: how far everybody is, on one screen.

use serde_json::json;

use super::{FIRST, NEWEST, migration, rows, versions, with_tenants};
use crate::support::{
    TestDb,
    catalog::{tables, texts},
};

#[tokio::test]
async fn status_is_1_unless_every_tenant_is_at_the_newest_migration() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    let header = "TENANTS VERSION STATE OLDEST";
    for words in ["status", "status --all"] {
        let ran = migration(&db, words).exits(0);
        assert_eq!(
            rows(&ran),
            [
                header,
                &format!("3 {NEWEST} up to date"),
                &format!("3 of 3 tenants up to date ({NEWEST})")
            ]
        );
        assert_eq!(ran.stderr, "");
    }
    migration(&db, "down --tenant tenant-3").exits(0);
    migration(&db, "down -n 2 --tenant tenant-2").exits(0);
    let changed =
        "UPDATE registry.tenants SET updated_at = '2026-11-20 10:00+00' WHERE slug = 'tenant-2'";
    texts(&db.plain().await, changed).await;
    let before = (tables(&db.plain().await).await, versions(&db).await);
    let lines = rows(&migration(&db, "status").exits(1));
    assert_eq!(lines[..2], [header.to_owned(), format!("1 {NEWEST} up to date")]);
    let behind = format!("1 {FIRST} 1 behind tenant-3, last changed 20");
    assert!(lines[2].starts_with(&behind), "{lines:#?}");
    assert_eq!(lines[3], "1 none 2 behind tenant-2, last changed 2026-11-20 10:00 UTC");
    assert_eq!(lines[4..], [format!("1 of 3 tenants up to date ({NEWEST})")]);
    assert_eq!((tables(&db.plain().await).await, versions(&db).await), before);
}

#[tokio::test]
async fn status_of_a_target_reads_its_schema() {
    let db = with_tenants(["tenant-1", "tenant-2"]).await;
    migration(&db, "down -n 2 --tenant tenant-2").exits(0);
    let header = "TENANT VERSION APPLIED PENDING";
    let ran = migration(&db, "status --tenant tenant-1,tenant-2").exits(1);
    assert_eq!(
        rows(&ran),
        [header, &format!("tenant-1 {NEWEST} 2"), &format!("tenant-2 none 0 {FIRST} {NEWEST}")]
    );
    migration(&db, "status --tenant tenant-1").exits(0);
    migration(&db, "status --schema tenant_2").exits(1).says(["tenant_2"]);
    let newest = tenantry_migrate::registry::migrator().latest().unwrap();
    migration(&db, "status --registry").exits(0).says([&newest]);
    let found = migration(&db, "status --tenant tenant-2 --json").exits(1).json();
    assert_eq!(
        found,
        json!([{ "name": "tenant-2", "schema": "tenant_2", "applied": [],
                 "pending": [FIRST, NEWEST] }])
    );
}

#[tokio::test]
async fn status_lists_failed_tenants_until_they_succeed() {
    let db = with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migration(&db, "down --all --yes").exits(0);
    let plain = db.plain().await;
    for schema in ["tenant_1", "tenant_2"] {
        texts(&plain, &format!("CREATE TABLE {schema}.shifts (planted text)")).await;
    }
    migration(&db, "up --all").exits(1);
    migration(&db, "up --tenant tenant-2").exits(1);
    let cause = format!("2 failed: {NEWEST}, SQLSTATE 42P07: relation \"shifts\" already exists\n");
    migration(&db, "status").exits(1).says([
        "\n2 failed (up to 2 attempts, last 20",
        &(cause + "  tenant-1, tenant-2\n"),
        &format!("\n1 of 3 tenants up to date ({NEWEST})\n"),
    ]);
    let found = migration(&db, "status --json").exits(1).json();
    assert_eq!(found["latest"], NEWEST);
    assert_eq!((&found["tenants"], &found["up_to_date"]), (&json!(3), &json!(1)));
    assert_eq!(found["versions"][1]["version"], FIRST);
    assert_eq!(
        (&found["versions"][1]["state"], &found["versions"][1]["behind"]),
        (&json!("behind"), &json!(1))
    );
    let failed = &found["failed"][1];
    assert_eq!((&failed["tenant"], &failed["attempts"]), (&json!("tenant-2"), &json!(2)));
    assert_eq!((&failed["sqlstate"], &failed["migration"]), (&json!("42P07"), &json!(NEWEST)));

    texts(&plain, "DROP TABLE tenant_1.shifts").await;
    texts(&plain, "DROP TABLE tenant_2.shifts").await;
    migration(&db, "up --only-failed").exits(0);
    let ran = migration(&db, "status").exits(0);
    assert!(!ran.stdout.contains("failed"), "{ran:#?}");
}

#[tokio::test]
async fn status_summarises_ten_thousand_tenants_and_spares() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    many(&db, 9_000, &format!("'{NEWEST}'")).await;
    let versions = "('m2026' || lpad((n % 30)::text, 4, '0') || '_000001_of_a_newer_program')";
    many_from(&db, 9_001, 9_998, versions).await;
    let failed = "UPDATE registry.tenants SET migration_attempts = 1, migration_error =
                  jsonb_build_object('message', 'no access to schema ' || schema)
                  WHERE slug LIKE '%99'";
    texts(&plain, failed).await;
    for spare in ["spare_1", "spare_2"] {
        let insert = format!(
            "INSERT INTO registry.tenants (id, schema, status, metadata, inserted_at, updated_at)
             VALUES (gen_random_uuid(), '{spare}', 'spare', '{{}}', now(), now())"
        );
        texts(&plain, &insert).await;
    }
    let ran = migration(&db, "status").exits(1).says([
        "ahead: unknown to this build",
        &format!("\n  9,000  {NEWEST}  "),
        "\n    695  22 other versions",
        "\n99 failed: no access to schema …\n  t99, t199,",
        "and 89 more\n",
        &format!("\n9,000 of 10,000 tenants (2 of them spares) up to date ({NEWEST})\n"),
    ]);
    assert!(ran.stdout.lines().count() <= 20, "{ran:#?}");
    let found = migration(&db, "status --json").exits(1).json();
    assert_eq!(found["versions"].as_array().unwrap().len(), 32);
    assert_eq!((found["failed"].as_array().unwrap().len(), &found["spares"]), (99, &json!(2)));
}

/// Tenants that are only in the registry, `t1` to `tN`, with the version that `version` is in SQL.
pub async fn many(db: &TestDb, number: usize, version: &str) {
    many_from(db, 1, number, version).await;
}

async fn many_from(db: &TestDb, first: usize, last: usize, version: &str) {
    let insert = format!(
        "INSERT INTO registry.tenants
             (id, slug, schema, status, schema_version, metadata, inserted_at, updated_at)
         SELECT lpad(to_hex(n), 32, '0')::uuid, 't' || n, 't' || n, 'active', {version}, '{{}}',
                now(), now()
         FROM generate_series({first}, {last}) n"
    );
    texts(&db.plain().await, &insert).await;
}
