//! Internal values of the server in the catalog are not compared; options that users can set are.

use super::*;

/// Puts options of the server's own everywhere: different ones for each column, table and index.
const OWN_OPTIONS: &str = "
    SET allow_system_table_mods = on;
    UPDATE pg_attribute a SET attoptions = array['pg_attver=' || attrelid || attnum, 'shadow=1']
        || coalesce(attoptions, '{}')
    FROM pg_class c WHERE c.oid = attrelid AND relkind IN ('r', 'v', 'm', 'c')
    AND relnamespace = 'SCHEMA'::regnamespace AND attnum > 0;
    UPDATE pg_attribute a SET attoptions = array['pg_attver=' || attrelid] || coalesce(attoptions, '{}')
        || array['pg_second=it''s; pg_third=4']
    FROM pg_class c WHERE c.oid = attrelid AND relkind = 'i' AND attoptions IS NOT NULL
    AND relnamespace = 'SCHEMA'::regnamespace AND attnum > 0;
    UPDATE pg_class SET reloptions = array['pg_relver=' || oid] || coalesce(reloptions, '{}')
        || array['shadow-of=x y', 'pg_last=1']
    WHERE relnamespace = 'SCHEMA'::regnamespace OR oid IN (SELECT reltoastrelid FROM pg_class
        WHERE relnamespace = 'SCHEMA'::regnamespace)";

async fn give_own_options(db: &DatabaseConnection, schema: &str) {
    db.execute_unprepared(&OWN_OPTIONS.replace("SCHEMA", schema)).await.unwrap();
}

#[tokio::test]
async fn ignores_internal_options_of_the_server() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    let plain = db.plain().await;
    for schema in ["tenant_1", "tenant_2"] {
        give_own_options(&plain, schema).await;
    }
    verify_with(&db, &["--all"]).exits(0).says(["3 schemas checked: 3 match"]);
    verify_with(&db, &["--tenant", "tenant-1"]).exits(0);
    verify_with(&db, &["--schema", "tenant_2"]).exits(0);
}

#[tokio::test]
async fn shows_no_internal_options_of_a_drifted_schema() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let drift = "
        ALTER TABLE guards SET (fillfactor = 70, toast.autovacuum_enabled = off),
            ALTER name SET (n_distinct = 5);
        ALTER INDEX guards_position_idx SET (fillfactor = 60);
        CREATE INDEX words ON guards USING gist (to_tsvector('simple', name) tsvector_ops (siglen = 32));
        CREATE TABLE rooms (id uuid PRIMARY KEY, during tsrange,
            CONSTRAINT apart EXCLUDE USING gist (during WITH &&) WITH (fillfactor = 50));
        CREATE VIEW names WITH (security_barrier) AS SELECT name FROM guards";
    for schema in ["tenant_1", "tenant_2"] {
        plant(&plain, schema, drift).await;
    }
    give_own_options(&plain, "tenant_1").await;
    let found = all(&plain).await;
    assert_eq!((found.drifted, found.findings.len()), (2, 1), "{found}");
    let lines = &said(&found)["tenant_1"];
    for expected in [
        "~ table guards: nothing → with (fillfactor=70, toast.autovacuum_enabled=off)",
        "~ column guards.name: text not null → text not null with (n_distinct=5)",
        "~ index guards_position_idx: ON guards USING btree (\"position\", id) → \
         ON guards USING btree (\"position\", id) WITH (fillfactor='60')",
        "+ index words ON guards USING gist (to_tsvector('simple'::regconfig, name) \
         tsvector_ops (siglen='32'))",
        "+ view names with (security_barrier=true) as SELECT name FROM guards;",
    ] {
        let squeezed: Vec<String> = lines
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            // Before PostgreSQL 16, columns in views are qualified.
            .map(|line| line.replace("SELECT guards.name", "SELECT name"))
            .collect();
        let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(&expected), "no {expected:?} in {squeezed:#?}");
    }
    assert!(!found.to_string().contains("pg_") && !found.to_string().contains("shadow"), "{found}");
}

/// Options that a user sets in two ways with the same result.
#[tokio::test]
async fn ignores_the_order_of_options() {
    let db = TestDb::new().await;
    let (one, two) = (
        "ALTER TABLE guards SET (fillfactor = 70); ALTER TABLE guards SET (parallel_workers = 2);
         ALTER TABLE guards ALTER name SET (n_distinct = 5);
         ALTER TABLE guards ALTER name SET (n_distinct_inherited = 6);
         CREATE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = 64 SET jit = off AS 'SELECT 1'",
        "ALTER TABLE guards SET (parallel_workers = 2); ALTER TABLE guards SET (fillfactor = 70);
         ALTER TABLE guards ALTER name SET (n_distinct_inherited = 6);
         ALTER TABLE guards ALTER name SET (n_distinct = 5);
         CREATE FUNCTION f() RETURNS int LANGUAGE sql SET jit = off SET work_mem = 64 AS 'SELECT 1'",
    );
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    plant(&plain, "tenant_1", one).await;
    plant(&plain, "tenant_2", two).await;
    let found = all(&plain).await;
    assert_eq!((found.drifted, found.findings.len()), (2, 1), "{found}");
}

#[tokio::test]
async fn ignores_oids_files_and_statistics() {
    let db = TestDb::new().await;
    let (_tenancy, [one, _]) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    for number in 0..50 {
        let sql = format!(
            "INSERT INTO \"@tenant\".guards (id, name, position, inserted_at, updated_at)
             VALUES (gen_random_uuid(), 'Guard {number}', 'Guard', now(), now())"
        );
        one.execute_unprepared(&sql).await.unwrap();
    }
    let plain = db.plain().await;
    // Column numbers with gaps, files and statistics of their own, constraints and indexes that
    // are younger than the table.
    plant(
        &plain,
        "tenant_1",
        "ALTER TABLE guards ADD badge int, ADD room text; ALTER TABLE guards DROP badge, DROP room;
         ALTER TABLE shifts DROP CONSTRAINT shifts_guard_id_fkey;
         ALTER TABLE shifts ADD CONSTRAINT shifts_guard_id_fkey
             FOREIGN KEY (guard_id) REFERENCES guards ON DELETE CASCADE;
         DROP INDEX guards_position_idx; CREATE INDEX guards_position_idx ON guards (position, id);
         TRUNCATE shifts",
    )
    .await;
    for sql in [
        "VACUUM (FULL, ANALYZE) tenant_1.guards",
        "REINDEX TABLE tenant_1.guards",
        "ANALYZE tenant_1.shifts",
    ] {
        plain.execute_unprepared(sql).await.unwrap();
    }
    verify_with(&db, &["--all"]).exits(0);
}
