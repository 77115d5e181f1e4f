//! Findings in a fleet, and their texts.

use super::*;

#[tokio::test]
async fn finds_nothing_in_a_matching_fleet() {
    let db = TestDb::new().await;
    // Slugs that are the name of a table, of a column, and a word that PostgreSQL quotes.
    db.with_tenants(["guards", "name", "shifts", "values", "tenant-1", "seaql"]).await;
    let plain = db.plain().await;
    let before = schemas(&plain).await;
    let ran = verify_with(&db, &["--all"]).exits(0);
    assert_eq!(ran.stdout, "6 schemas checked: 6 match\n");
    assert_eq!(ran.stderr, "");
    // The reference is gone.
    assert_eq!(schemas(&plain).await, before);

    let none = TestDb::new().await;
    assert_eq!(verify_with(&none, &["--all"]).exits(0).stdout, "0 schemas checked: 0 match\n");
}

#[tokio::test]
async fn groups_equal_drift_of_different_schemas() {
    let db = TestDb::new().await;
    db.with_tenants(["guards", "name", "values", "tenant-1"]).await;
    let plain = db.plain().await;
    let sql = "CREATE VIEW v AS SELECT guards.name, guards.id FROM guards;
               ALTER TABLE guards ADD CONSTRAINT c CHECK (guards.name <> 'guards.');
               CREATE TABLE name (name text, CHECK (name.name <> 'name.name'));
               CREATE FUNCTION f(name) RETURNS name LANGUAGE sql RETURN $1;
               CREATE SEQUENCE s; ALTER TABLE guards ADD n int DEFAULT nextval('s')";
    for schema in ["guards", "name", "values", "tenant_1"] {
        plant(&plain, schema, sql).await;
    }
    let found = all(&plain).await;
    assert_eq!((found.drifted, found.findings.len()), (4, 1), "{found}");
}

#[tokio::test]
async fn shows_the_number_of_tenants_per_group() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2", "tenant-3", "tenant-4"]).await;
    let plain = db.plain().await;
    for schema in ["tenant_1", "tenant_3"] {
        plant(&plain, schema, "DROP INDEX guards_position_idx").await;
    }
    plant(&plain, "tenant_4", "ALTER TABLE guards ADD badge int, ALTER name DROP NOT NULL").await;
    let ran = verify_with(&db, &["--all"]).exits(1);
    assert_eq!(
        ran.stdout,
        "2 tenants drifted: tenant-1, tenant-3\n  \
           - index guards_position_idx ON guards USING btree (\"position\", id)\n\
         1 tenant drifted: tenant-4\n  \
           + column guards.badge integer\n  \
           ~ column guards.name: text not null → text\n\
         4 schemas checked: 1 match, 3 drifted (2 kinds of difference)\n"
    );
    let ran = verify_with(&db, &["--tenant", "tenant-2,tenant-4"]).exits(1);
    ran.says(["tenant-4", "2 schemas checked: 1 match, 1 drifted (1 kind of difference)\n"]);
    verify_with(&db, &["--tenant", "tenant-2"]).exits(0);
    verify_with(&db, &["--schema", "tenant_3"]).exits(1).says(["guards_position_idx"]);
}

#[tokio::test]
async fn json_says_the_same() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    let plain = db.plain().await;
    for schema in ["tenant_1", "tenant_2"] {
        plant(&plain, schema, "ALTER TABLE guards ALTER name DROP NOT NULL, ADD badge int").await;
        plant(&plain, schema, "DROP INDEX shifts_guard_id_idx").await;
    }
    texts(&plain, "CREATE TABLE public.astray ()").await;
    texts(&plain, "DROP SCHEMA tenant_3 CASCADE").await;
    let ran = verify_with(&db, &["--all", "--json"]).exits(1);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let index = "ON shifts USING btree (guard_id, id)";
    assert_eq!(
        document,
        json!({
            "schemas": 2,
            "drifted": 2,
            "findings": [
                {
                    "finding": "drift",
                    "tenants": [
                        { "slug": "tenant-1", "schema": "tenant_1" },
                        { "slug": "tenant-2", "schema": "tenant_2" },
                    ],
                    "difference": [
                        { "change": "extra", "object": "column", "name": "guards.badge",
                          "definition": "integer" },
                        { "change": "changed", "object": "column", "name": "guards.name",
                          "expected": "text not null", "found": "text" },
                        { "change": "missing", "object": "index", "name": "shifts_guard_id_idx",
                          "definition": index },
                    ],
                },
                { "finding": "row_without_schema", "slug": "tenant-3", "schema": "tenant_3" },
                { "finding": "table_in_public", "table": "astray" },
            ],
        })
    );
    let clean = verify_with(&TestDb::new().await, &["--all", "--json"]).exits(0);
    let document: Value = serde_json::from_str(&clean.stdout).unwrap();
    assert_eq!(document, json!({ "schemas": 0, "drifted": 0, "findings": [] }));
}

#[tokio::test]
async fn finds_schemas_and_tables_without_a_tenant() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    texts(&plain, "DELETE FROM registry.tenants WHERE slug = 'tenant-1'").await;
    texts(&plain, "DROP SCHEMA tenant_2 CASCADE").await;
    texts(&plain, "CREATE TABLE public.seaql_migrations (version text)").await;
    texts(&plain, "CREATE SCHEMA bare").await;
    let ran = verify_with(&db, &["--all"]).exits(1);
    assert_eq!(
        ran.stdout,
        "registry row without a schema: tenant-2 (schema tenant_2)\n\
         schema without a registry row: tenant_1\n\
         table in public: seaql_migrations\n\
         0 schemas checked: 0 match, 1 schema without a registry row, \
         1 registry row without a schema, 1 table in public\n"
    );
    // Besides the tenants that are asked for nothing is looked at.
    verify_with(&db, &["--schema", "tenant_1"]).exits(0);
    verify_with(&db, &["--tenant", "tenant-2"]).exits(1);
}

#[tokio::test]
async fn finds_an_invalid_index() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    let plain = db.plain().await;
    let guards = "INSERT INTO tenant_1.guards SELECT gen_random_uuid(), 'same', '', now(), now()
                  FROM generate_series(1, 2)";
    texts(&plain, guards).await;
    texts(&plain, "DROP INDEX tenant_1.guards_position_idx").await;
    let build =
        "CREATE UNIQUE INDEX CONCURRENTLY guards_position_idx ON tenant_1.guards (position)";
    plain.execute_unprepared(build).await.unwrap_err();
    verify_with(&db, &["--all"])
        .exits(1)
        .says(["~ index guards_position_idx: ON guards USING btree (\"position\", id) → \
         UNIQUE ON guards USING btree (\"position\") INVALID"]);
}

#[tokio::test]
async fn compares_a_tenant_with_the_reference_of_its_version() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migrate(&db, &["down", "--tenant", "tenant-1"]);
    migrate(&db, &["down", "-n", "2", "--tenant", "tenant-2"]);
    verify_with(&db, &["--all"]).exits(0).says(["3 schemas checked: 3 match"]);
    // Not so at another's.
    let plain = db.plain().await;
    plant(&plain, "tenant_1", "CREATE TABLE shifts (id uuid)").await;
    plant(&plain, "tenant_3", "DROP TABLE shifts CASCADE").await;
    let said = said(&all(&plain).await);
    assert_eq!(said["tenant_1"], ["+ table shifts (id)"]);
    assert!(said["tenant_3"][0].starts_with("- table shifts"), "{said:?}");
    assert!(!said.contains_key("tenant_2"));
}

#[tokio::test]
async fn distinguishes_wrong_records_from_wrong_structures() {
    let db = TestDb::new().await;
    db.with_tenants(["gone", "older", "newer", "none", "set", "not-run"]).await;
    let plain = db.plain().await;
    let delete = format!("DELETE FROM seaql_migrations WHERE version = '{NEWEST}'");
    plant(&plain, "gone", &delete).await;
    let version = |slug: &str, version: &str| {
        format!("UPDATE registry.tenants SET schema_version = {version} WHERE slug = '{slug}'")
    };
    texts(&plain, &version("older", &format!("'{FIRST}'"))).await;
    texts(&plain, &version("none", "NULL")).await;
    texts(&plain, &version("newer", "'m2099_from_the_future'")).await;
    let set = "UPDATE registry.tenants SET migrations = migrations[2:] WHERE slug = 'set'";
    texts(&plain, set).await;
    // A record without the work: made by hand on a schema that was behind.
    migrate(&db, &["down", "--tenant", "not-run"]);
    plant(&plain, "not_run", &format!("INSERT INTO seaql_migrations VALUES ('{NEWEST}', 0)")).await;
    texts(&plain, &version("not-run", &format!("'{NEWEST}'"))).await;

    let said = said(&all(&plain).await);
    let wrong = |version: &str| format!("~ registry schema_version: {NEWEST} → {version}");
    assert_eq!(said["gone"], [format!("- migration {NEWEST} applied")]);
    assert_eq!(said["older"], [wrong(FIRST)]);
    assert_eq!(said["none"], [wrong("none")]);
    assert_eq!(said["set"], [format!("~ registry migrations: {FIRST} {NEWEST} → {NEWEST}")]);
    assert_eq!(said["newer"], [wrong("m2099_from_the_future")]);
    assert_eq!(
        said["not_run"],
        ["- table shifts (id, guard_id, starts_at, ends_at, inserted_at, updated_at)"]
    );
}

#[tokio::test]
async fn reports_a_missing_migrations_table_once() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    plant(&plain, "tenant_1", "DROP TABLE seaql_migrations").await;
    plant(&plain, "tenant_2", "ALTER TABLE seaql_migrations DROP COLUMN version").await;
    let said = said(&all(&plain).await);
    assert_eq!(said["tenant_1"], ["- table seaql_migrations (version, applied_at)"]);
    assert!(
        said["tenant_2"].iter().any(|line| line.starts_with("- column seaql_migrations.version")),
        "{said:?}"
    );
}

#[tokio::test]
async fn reports_targets_that_do_not_exist() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    let ran = verify_with(&db, &["--tenant", "tenant-1,missing"]).exits(1);
    assert_eq!(ran.stdout, "");
    ran.complains(["tenant \"missing\" not found"]);
    verify_with(&db, &["--schema", "missing"]).exits(1).complains(["\"missing\" does not exist"]);
    verify_with(&db, &[]).exits(2);
    verify_with(&db, &["--all", "--tenant", "tenant-1"]).exits(2);
    let plain = db.plain().await;
    texts(&plain, "DROP SCHEMA registry CASCADE").await;
    verify_with(&db, &["--all"]).exits(1).complains(["migration up --registry"]);
    verify_with(&db, &["--schema", "tenant_1"]).exits(0);
}

#[tokio::test]
async fn changes_nothing_and_leaves_nothing() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    plant(&plain, "tenant_2", "DROP TABLE shifts").await;
    let structure = async |schema: &str| {
        let txn = plain.begin().await.unwrap();
        let structure = read_structure(&txn, &schema.parse().unwrap()).await.unwrap();
        // The caller's transaction goes on as it was.
        let path = texts_in(&txn, "SELECT current_setting('search_path')").await;
        assert_eq!(path, ["\"$user\", public"]);
        txn.rollback().await.unwrap();
        structure
    };
    let rows = "SELECT t::text FROM registry.tenants t ORDER BY id";
    let before = (
        schemas(&plain).await,
        texts(&plain, rows).await,
        structure("tenant_1").await,
        structure("tenant_2").await,
    );
    assert_ne!(before.2, before.3);
    all(&plain).await;
    let after = (
        schemas(&plain).await,
        texts(&plain, rows).await,
        structure("tenant_1").await,
        structure("tenant_2").await,
    );
    assert_eq!(before, after);
}
