//! Locks on tables in use, and changes that break the previous release.

use tenantry_migrate::lint::Rule;

use super::plan::{finds, passes};
use crate::support::{TestDb, database::has_version};

#[tokio::test]
async fn finds_a_volatile_default() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::VolatileDefault];
    finds(db, &["ALTER TABLE things ADD token uuid DEFAULT gen_random_uuid()"], rules).await;
    finds(db, &["ALTER TABLE things ADD at timestamptz DEFAULT clock_timestamp()"], rules).await;
    passes(db, &["ALTER TABLE things ADD at timestamptz NOT NULL DEFAULT now()"]).await;
    passes(db, &["ALTER TABLE things ADD state text NOT NULL DEFAULT 'new'"]).await;
    passes(
        db,
        &["CREATE TABLE fresh (id uuid CONSTRAINT fresh_pkey PRIMARY KEY);
           ALTER TABLE fresh ADD token uuid DEFAULT gen_random_uuid()"],
    )
    .await;
}

#[tokio::test]
async fn finds_not_null_without_default() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::NotNullWithoutDefault];
    finds(db, &["ALTER TABLE things ADD state text NOT NULL"], rules).await;
    passes(db, &["ALTER TABLE things ADD state text"]).await;
    passes(db, &["ALTER TABLE things ADD state text NOT NULL DEFAULT ''"]).await;
}

#[tokio::test]
async fn set_not_null_needs_a_validated_check() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    const ADD: &str = "ALTER TABLE things ADD CONSTRAINT things_name_check
                       CHECK (name IS NOT NULL) NOT VALID";
    const VALIDATE: &str = "ALTER TABLE things VALIDATE CONSTRAINT things_name_check";
    const SET: &str = "ALTER TABLE things ALTER COLUMN name SET NOT NULL";
    finds(db, &[SET], &[Rule::SetNotNull]).await;
    finds(db, &[ADD, SET], &[Rule::SetNotNull]).await;
    passes(db, &[ADD, VALIDATE, SET]).await;
}

/// PostgreSQL 18 has NOT NULL that is validated later, and foreign keys that are enforced later.
#[tokio::test]
async fn not_null_and_keys_of_postgres_18_are_validated_later() {
    if !has_version(18, "NOT NULL … NOT VALID, NOT ENFORCED and virtual columns") {
        return;
    }
    let test = TestDb::new().await;
    let db = &test.plain().await;
    const ADD: &str = "ALTER TABLE things ADD CONSTRAINT things_name_nn NOT NULL name NOT VALID";
    const VALIDATE: &str = "ALTER TABLE things VALIDATE CONSTRAINT things_name_nn";
    const KEY: &str = "ALTER TABLE things ADD CONSTRAINT things_part_id_fkey
                       FOREIGN KEY (part_id) REFERENCES parts (id) NOT ENFORCED";
    let rules = &[Rule::ValidatedConstraint];
    passes(db, &[ADD, VALIDATE]).await;
    const BOTH: &str = "ALTER TABLE things ADD CONSTRAINT things_name_nn NOT NULL name NOT VALID;
                        ALTER TABLE things VALIDATE CONSTRAINT things_name_nn";
    finds(db, &[BOTH], rules).await;
    finds(db, &[ADD, "ALTER TABLE things ALTER COLUMN name SET NOT NULL"], rules).await;
    passes(db, &[KEY]).await;
    const ENFORCE: &str = "ALTER TABLE things ALTER CONSTRAINT things_part_id_fkey ENFORCED";
    finds(db, &[KEY, ENFORCE], rules).await;
    passes(db, &["ALTER TABLE things ADD doubled int GENERATED ALWAYS AS (amount * 2) VIRTUAL"])
        .await;
    const STORED: &str =
        "ALTER TABLE things ADD doubled int GENERATED ALWAYS AS (amount * 2) STORED";
    finds(db, &[STORED], &[Rule::RewritesTable]).await;
}

#[tokio::test]
async fn an_index_on_an_old_table_is_built_concurrently() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::IndexWithoutConcurrently];
    finds(db, &["CREATE INDEX things_amount_idx ON things (amount)"], rules).await;
    finds(db, &["CREATE UNIQUE INDEX things_amount_idx ON things (amount)"], rules).await;
    finds(db, &["ALTER TABLE things ADD CONSTRAINT things_code_key UNIQUE (code)"], rules).await;
    finds(db, &["REINDEX INDEX things_name_idx"], rules).await;
    // Writes no row, but the index on the column is sorted otherwise from now on.
    finds(db, &["ALTER TABLE things ALTER COLUMN name TYPE text COLLATE \"C\""], rules).await;
    passes(
        db,
        &["-- alone\nCREATE INDEX CONCURRENTLY IF NOT EXISTS things_amount_idx ON things (amount)"],
    )
    .await;
    passes(db, &["-- alone\nREINDEX INDEX CONCURRENTLY things_name_idx"]).await;
    passes(db, &["-- alone\nDROP INDEX CONCURRENTLY IF EXISTS things_name_idx"]).await;
    passes(
        db,
        &[
            "-- alone\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS things_code_key_idx ON things (code)",
            "ALTER TABLE things ADD CONSTRAINT things_code_key UNIQUE USING INDEX things_code_key_idx",
        ],
    )
    .await;
    passes(
        db,
        &["CREATE TABLE fresh (id uuid CONSTRAINT fresh_pkey PRIMARY KEY, a text);
           CREATE INDEX fresh_a_idx ON fresh (a)"],
    )
    .await;
}

#[tokio::test]
async fn concurrently_needs_a_migration_without_a_transaction() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::ConcurrentlyInTransaction];
    finds(db, &["CREATE INDEX CONCURRENTLY things_amount_idx ON things (amount)"], rules).await;
    finds(db, &["DROP INDEX CONCURRENTLY things_name_idx"], rules).await;
    passes(db, &["DROP INDEX things_name_idx"]).await;
}

#[tokio::test]
async fn statements_outside_a_transaction_are_idempotent() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::NotIdempotent];
    finds(db, &["-- alone\nCREATE INDEX CONCURRENTLY things_amount_idx ON things (amount)"], rules)
        .await;
    finds(db, &["-- alone\nDROP INDEX CONCURRENTLY things_name_idx"], rules).await;
    passes(
        db,
        &["-- alone\nCREATE INDEX CONCURRENTLY IF NOT EXISTS things_amount_idx ON things (amount)"],
    )
    .await;
    passes(db, &["-- alone\nDROP INDEX CONCURRENTLY IF EXISTS things_name_idx"]).await;
}

#[tokio::test]
async fn finds_type_changes_that_rewrite() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::TypeChange];
    finds(db, &["ALTER TABLE things ALTER COLUMN amount TYPE bigint"], rules).await;
    finds(db, &["ALTER TABLE things ALTER COLUMN code TYPE varchar(5)"], rules).await;
    finds(db, &["ALTER TABLE things ALTER COLUMN id TYPE text"], rules).await;
    passes(db, &["ALTER TABLE things ALTER COLUMN code TYPE varchar(20)"]).await;
    passes(db, &["ALTER TABLE things ALTER COLUMN code TYPE text"]).await;
    passes(
        db,
        &["CREATE TABLE fresh (id uuid CONSTRAINT fresh_pkey PRIMARY KEY, a integer);
           ALTER TABLE fresh ALTER COLUMN a TYPE bigint"],
    )
    .await;
}

#[tokio::test]
async fn finds_constraints_validated_under_a_lock() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::ValidatedConstraint];
    const CHECK: &str = "ALTER TABLE things ADD CONSTRAINT things_amount_check CHECK (amount > 0)";
    const KEY: &str = "ALTER TABLE things ADD CONSTRAINT things_part_id_fkey
                       FOREIGN KEY (part_id) REFERENCES parts (id)";
    const CHECK_LATER: &str = "ALTER TABLE things
                               ADD CONSTRAINT things_amount_check CHECK (amount > 0) NOT VALID";
    const KEY_LATER: &str = "ALTER TABLE things ADD CONSTRAINT things_part_id_fkey
                             FOREIGN KEY (part_id) REFERENCES parts (id) NOT VALID";
    finds(db, &[CHECK], rules).await;
    finds(db, &[KEY], rules).await;
    finds(
        db,
        &["ALTER TABLE things ADD CONSTRAINT things_amount_check CHECK (amount > 0) NOT VALID;
           ALTER TABLE things VALIDATE CONSTRAINT things_amount_check"],
        rules,
    )
    .await;
    passes(db, &[CHECK_LATER, "ALTER TABLE things VALIDATE CONSTRAINT things_amount_check"]).await;
    passes(db, &[KEY_LATER, "ALTER TABLE things VALIDATE CONSTRAINT things_part_id_fkey"]).await;
    passes(
        db,
        &["ALTER TABLE things
           ADD other_id uuid CONSTRAINT things_other_id_fkey REFERENCES parts (id)"],
    )
    .await;
}

#[tokio::test]
async fn finds_other_rewrites_and_scans() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::RewritesTable];
    finds(db, &["ALTER TABLE things SET UNLOGGED"], rules).await;
    finds(db, &["CLUSTER things USING things_pkey"], rules).await;
    finds(
        db,
        &["ALTER TABLE things ADD double integer GENERATED ALWAYS AS (amount * 2) STORED"],
        rules,
    )
    .await;
    passes(db, &["ALTER TABLE things SET (fillfactor = 80)"]).await;

    const WHOLE: &str = "CREATE TABLE whole (id uuid, at integer,
                             CONSTRAINT whole_pkey PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
                         ALTER TABLE whole ATTACH PARTITION entries FOR VALUES FROM (0) TO (9)";
    finds(db, &[WHOLE], &[Rule::ScansTable]).await;
    passes(
        db,
        &[
            "ALTER TABLE entries ADD CONSTRAINT entries_at_check
             CHECK (at >= 0 AND at < 9) NOT VALID",
            "ALTER TABLE entries VALIDATE CONSTRAINT entries_at_check",
            WHOLE,
        ],
    )
    .await;
}

#[tokio::test]
async fn finds_drops_and_renames() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    finds(db, &["ALTER TABLE things DROP COLUMN amount"], &[Rule::DropColumn]).await;
    finds(db, &["DROP TABLE parts"], &[Rule::DropTable]).await;
    finds(db, &["ALTER TABLE things RENAME TO items"], &[Rule::Rename]).await;
    finds(db, &["ALTER TABLE things RENAME COLUMN amount TO total"], &[Rule::Rename]).await;
    passes(db, &["ALTER TABLE things ADD total integer", "DROP INDEX things_code_idx"]).await;
    passes(
        db,
        &["CREATE TABLE fresh (id uuid CONSTRAINT fresh_pkey PRIMARY KEY, a text, b text);
           ALTER TABLE fresh RENAME COLUMN a TO c;
           ALTER TABLE fresh DROP COLUMN b;
           ALTER TABLE fresh RENAME TO other;
           DROP TABLE other"],
    )
    .await;
}
