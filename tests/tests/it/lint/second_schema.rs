//! Migrations that work in one schema and do something else in a second one beside it.

use tenantry_migrate::lint::Rule;

use super::plan::{finds, passes, report};
use crate::support::TestDb;

#[tokio::test]
async fn finds_catalog_queries_by_name() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let both = &[Rule::CatalogByName, Rule::DiffersBetweenSchemas];
    for sql in [
        "DO $$ BEGIN
           IF NOT EXISTS (SELECT FROM information_schema.columns
               WHERE table_name = 'things' AND column_name = 'color') THEN
             ALTER TABLE things ADD color text;
           END IF;
         END $$",
        "DO $do$ BEGIN
           IF NOT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'all_parts') THEN
             CREATE VIEW all_parts AS SELECT id FROM parts;
           END IF;
         END $do$",
        "DO $$ BEGIN
           PERFORM 1 FROM pg_constraint c WHERE c.conname = 'parts_check';
           IF NOT FOUND THEN
             ALTER TABLE parts ADD CONSTRAINT parts_check CHECK (id IS NOT NULL) NOT VALID;
           END IF;
         END $$",
        "DO $$ BEGIN
           IF NOT EXISTS (SELECT FROM pg_tables WHERE 'fresh' = tablename) THEN
             CREATE TABLE fresh (id uuid CONSTRAINT fresh_pkey PRIMARY KEY);
           END IF;
         END $$",
    ] {
        finds(db, &[sql], both).await;
    }
}

#[tokio::test]
async fn finds_differences_between_two_schemas() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::DiffersBetweenSchemas];
    for sql in [
        // Dynamic SQL hides the words.
        "DO $$ DECLARE n int; BEGIN
           EXECUTE 'SELECT count(*) FROM information_schema.' || 'columns WHERE column' ||
               '_name = ''color''' INTO n;
           IF n = 0 THEN ALTER TABLE things ADD color text; END IF;
         END $$",
        "DO $$ BEGIN EXECUTE format('CREATE TABLE %I (id uuid CONSTRAINT x_pkey PRIMARY KEY)',
             'x' || (SELECT count(*) FROM pg_class)); END $$",
    ] {
        finds(db, &[sql], rules).await;
    }
    // A second schema cannot have it, and the rule that it breaks says why.
    let role = "DO $$ BEGIN EXECUTE 'CREATE ROLE ' || 'only_once'; END $$";
    finds(db, &[role], &[Rule::OutsideSchema]).await;
    let report = report(db, &[role, "ALTER TABLE things ADD other text"]).await;
    let found: Vec<&str> = report.findings.iter().map(|it| it.migration.as_str()).collect();
    assert_eq!(found, ["m2"], "{report:#?}");
    assert!(report.findings[0].message.contains("a role"), "{report:#?}");
}

#[tokio::test]
async fn reports_a_difference_for_one_migration_only() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = report(
        db,
        &[
            "DO $$ BEGIN
               IF NOT EXISTS (SELECT FROM information_schema.columns
                   WHERE table_name = 'things' AND column_name = 'color') THEN
                 ALTER TABLE things ADD color text;
               END IF;
             END $$",
            "ALTER TABLE things ADD other text",
        ],
    )
    .await;
    assert!(report.findings.iter().all(|it| it.migration == "m2"), "{report:#?}");
    let differs = report.findings.iter().find(|it| it.rule == Rule::DiffersBetweenSchemas).unwrap();
    assert!(differs.message.contains("things.color"), "{report:#?}");
    let by_name = report.findings.iter().find(|it| it.rule == Rule::CatalogByName).unwrap();
    assert!(by_name.message.contains("information_schema.columns"), "{report:#?}");
    assert!(by_name.help.contains("current_schema()"), "{report:#?}");
}

#[tokio::test]
async fn passes_catalog_queries_with_a_schema() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    for sql in [
        "DO $$ BEGIN
           IF NOT EXISTS (SELECT FROM information_schema.columns
               WHERE table_schema = current_schema() AND table_name = 'things'
               AND column_name = 'color') THEN
             ALTER TABLE things ADD color text;
           END IF;
         END $$",
        "DO $$ BEGIN IF to_regclass('fresh') IS NULL THEN
             CREATE TABLE fresh (id uuid CONSTRAINT fresh_pkey PRIMARY KEY); END IF; END $$",
        "DO $$ BEGIN
           IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'things'::regclass
               AND attname = 'color') THEN
             ALTER TABLE things ADD color text;
           END IF;
         END $$",
        "ALTER TABLE things ADD COLUMN IF NOT EXISTS color text",
        "DO $$ BEGIN ALTER TABLE things ADD color text;
           EXCEPTION WHEN duplicate_column THEN NULL; END $$",
        "SELECT count(*) FROM pg_settings WHERE name = 'work_mem'",
    ] {
        passes(db, &[sql]).await;
    }
}

#[tokio::test]
async fn an_intended_difference_can_be_allowed() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    passes(
        db,
        &["/* check: allow differs-between-schemas because each is called otherwise */
           DO $$ BEGIN EXECUTE format('CREATE TABLE %I (id uuid CONSTRAINT x_pkey PRIMARY KEY)',
               'x' || (SELECT count(*) FROM pg_class)); END $$"],
    )
    .await;
}
