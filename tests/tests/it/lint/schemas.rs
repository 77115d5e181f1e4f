//! Rules about the schema as a whole.

use tenantry_migrate::lint::Rule;

use super::plan::{finds, passes, report};
use crate::support::TestDb;

#[tokio::test]
async fn every_table_has_a_primary_key() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    finds(db, &["CREATE TABLE bare (id uuid)"], &[Rule::PrimaryKey]).await;
    finds(db, &["ALTER TABLE things DROP CONSTRAINT things_pkey"], &[Rule::PrimaryKey]).await;
    passes(
        db,
        &["CREATE TABLE bare (id uuid);
           ALTER TABLE bare ADD CONSTRAINT bare_pkey PRIMARY KEY (id)"],
    )
    .await;
    passes(db, &["CREATE TABLE bare (id uuid); DROP TABLE bare"]).await;
}

#[tokio::test]
async fn finds_sequences_and_identity_columns() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::Identity];
    finds(db, &["CREATE TABLE n (id bigserial CONSTRAINT n_pkey PRIMARY KEY)"], rules).await;
    finds(
        db,
        &["CREATE TABLE n (id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT n_pkey PRIMARY KEY)"],
        rules,
    )
    .await;
    finds(db, &["CREATE SEQUENCE numbers"], rules).await;
    let both = &[Rule::Identity, Rule::VolatileDefault];
    finds(db, &["ALTER TABLE things ADD number bigserial"], both).await;
    passes(db, &["CREATE TABLE n (id uuid CONSTRAINT n_pkey PRIMARY KEY, number bigint)"]).await;
}

#[tokio::test]
async fn finds_objects_outside_the_schema() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let hidden = |sql: &'static str| [sql];
    for sql in [
        "DO $$ BEGIN EXECUTE 'CREATE VIEW all_tenants AS SELECT id FROM registry.tenants'; END $$",
        "DO $$ BEGIN PERFORM id FROM registry.tenants; END $$",
        "DO $$ BEGIN ALTER TABLE things ADD owner uuid
             CONSTRAINT things_owner_fkey REFERENCES registry.tenants (id); END $$",
    ] {
        finds(db, &hidden(sql), &[Rule::OutsideSchema]).await;
    }
    finds(db, &["CREATE ROLE reader"], &[Rule::OutsideSchema]).await;
    let both = &[Rule::OutsideSchema, Rule::SchemaQualified];
    finds(db, &["CREATE VIEW all_tenants AS SELECT id FROM registry.tenants"], both).await;
    finds(
        db,
        &["CREATE TABLE owned (id uuid CONSTRAINT owned_pkey PRIMARY KEY
           CONSTRAINT owned_id_fkey REFERENCES registry.tenants (id))"],
        both,
    )
    .await;
    passes(db, &["CREATE VIEW all_things AS SELECT id FROM things"]).await;
    passes(
        db,
        &["CREATE TABLE owned (id uuid CONSTRAINT owned_pkey PRIMARY KEY
           CONSTRAINT owned_id_fkey REFERENCES things (id))"],
    )
    .await;
}

#[tokio::test]
async fn a_schema_is_not_named() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let both = &[Rule::OutsideSchema, Rule::SchemaQualified];
    finds(db, &["CREATE TABLE public.x (id uuid CONSTRAINT x_pkey PRIMARY KEY)"], both).await;
    finds(db, &["UPDATE \"registry\" . \"tenants\" SET slug = slug"], both).await;
    finds(db, &["CREATE SCHEMA extra"], both).await;
    finds(db, &["CREATE FUNCTION public.f() RETURNS int RETURN 1"], both).await;
    passes(db, &["UPDATE \"@tenant\".things SET name = code WHERE amount = 1"]).await;
    passes(db, &["UPDATE things SET code = things.code, name = 'registry.tenants'"]).await;
    passes(db, &["CREATE TABLE x (id uuid CONSTRAINT x_pkey PRIMARY KEY, schema text)"]).await;
    passes(db, &["SELECT count(*) FROM information_schema.columns, pg_catalog.pg_class"]).await;
}

#[tokio::test]
async fn distinguishes_a_schema_from_a_table_of_the_same_name() {
    let test = TestDb::new().await;
    let _tenants = test.with_tenants(["things", "t"]).await;
    let db = &test.plain().await;
    passes(db, &["UPDATE things t SET name = t.code WHERE t.id IS NOT NULL"]).await;
    passes(
        db,
        &["ALTER TABLE things ADD CONSTRAINT things_id_check CHECK (things.amount > 0) NOT VALID"],
    )
    .await;
}

#[tokio::test]
async fn finds_changes_of_search_path() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::SearchPath];
    finds(db, &["SET search_path = pg_catalog"], rules).await;
    finds(db, &["SELECT set_config('search_path', 'registry', true)"], rules).await;
    // What follows is still judged in the schema that it is meant for.
    finds(
        db,
        &["DO $$ BEGIN PERFORM set_config('search' || '_path', 'registry', true); END $$;
           ALTER TABLE things ADD COLUMN more text"],
        rules,
    )
    .await;
    passes(db, &["SET LOCAL work_mem = '8MB'; SELECT 'SET search_path = registry'"]).await;
}

#[tokio::test]
async fn triggers_are_refused() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    const FUNCTION: &str = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
                            AS $$ BEGIN RETURN NEW; END $$";
    const TRIGGER: &str = "CREATE TRIGGER things_touch BEFORE UPDATE ON things
                           FOR EACH ROW EXECUTE FUNCTION touch()";
    finds(db, &[FUNCTION, TRIGGER], &[Rule::Trigger]).await;
    passes(db, &[FUNCTION]).await;
}

#[tokio::test]
async fn finds_custom_types() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::CustomType];
    finds(db, &["CREATE TYPE mood AS ENUM ('good', 'bad')"], rules).await;
    finds(db, &["CREATE DOMAIN percent AS integer"], rules).await;
    finds(db, &["CREATE TYPE point3 AS (x integer, y integer, z integer)"], rules).await;
    passes(
        db,
        &["CREATE TABLE moods (id uuid CONSTRAINT moods_pkey PRIMARY KEY,
           mood text CONSTRAINT moods_mood_check CHECK (mood IN ('good', 'bad')))"],
    )
    .await;
}

#[tokio::test]
async fn finds_multiple_actions() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::MultipleActions];
    finds(db, &["ALTER TABLE things ADD a text, ADD b numeric(6, 2)"], rules).await;
    passes(db, &["ALTER TABLE things ADD a text; ALTER TABLE things ADD b numeric(6, 2)"]).await;
}

#[tokio::test]
async fn finds_unnamed_and_renamed_constraints() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::UnnamedConstraint];
    finds(db, &["CREATE TABLE u (id uuid PRIMARY KEY)"], rules).await;
    finds(
        db,
        &["CREATE TABLE u (id uuid CONSTRAINT u_pkey PRIMARY KEY, a integer CHECK (a > 0))"],
        rules,
    )
    .await;
    finds(
        db,
        &["CREATE TABLE u (id uuid CONSTRAINT u_pkey PRIMARY KEY, a text);
           CREATE INDEX ON u (a)"],
        rules,
    )
    .await;
    passes(
        db,
        &["CREATE TABLE U (id uuid CONSTRAINT U_pkey PRIMARY KEY,
               a integer CONSTRAINT u_a_check CHECK (a > 0));
           CREATE INDEX u_a_idx ON u (a)"],
    )
    .await;
    finds(
        db,
        &["ALTER TABLE things RENAME CONSTRAINT things_pkey TO things_key"],
        &[Rule::RenameConstraint],
    )
    .await;
    passes(
        db,
        &[
            "ALTER TABLE things ADD CONSTRAINT a_check CHECK (amount > 0) NOT VALID",
            "ALTER TABLE things ADD CONSTRAINT b_check CHECK (amount > 0) NOT VALID;
           ALTER TABLE things DROP CONSTRAINT a_check",
        ],
    )
    .await;
}

#[tokio::test]
async fn finds_deferrable_constraints() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    finds(
        db,
        &["CREATE TABLE late (id uuid CONSTRAINT late_pkey PRIMARY KEY DEFERRABLE)"],
        &[Rule::DeferrableConstraint],
    )
    .await;
    passes(db, &["CREATE TABLE late (id uuid CONSTRAINT late_pkey PRIMARY KEY)"]).await;
}

#[tokio::test]
async fn tables_do_not_inherit() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    finds(
        db,
        &["CREATE TABLE child (CONSTRAINT child_pkey PRIMARY KEY (id)) INHERITS (things)"],
        &[Rule::Inheritance],
    )
    .await;
    passes(
        db,
        &["CREATE TABLE whole (id uuid, at integer, CONSTRAINT whole_pkey PRIMARY KEY (id, at))
               PARTITION BY RANGE (at);
           CREATE TABLE whole_1 PARTITION OF whole FOR VALUES FROM (0) TO (10)"],
    )
    .await;
}

#[tokio::test]
async fn finds_volatile_functions_in_writes() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::VolatileFunction];
    finds(db, &["UPDATE things SET amount = random() * 10"], rules).await;
    finds(db, &["DELETE FROM things WHERE amount < random() * 10"], rules).await;
    finds(
        db,
        &["WITH lucky AS (SELECT id FROM things WHERE random() > 0.5)
           DELETE FROM things WHERE id IN (SELECT id FROM lucky)"],
        rules,
    )
    .await;
    passes(db, &["UPDATE things SET name = lower(name) || now()::text"]).await;
    passes(db, &["INSERT INTO parts (id) SELECT gen_random_uuid()"]).await;
}

#[tokio::test]
async fn finds_transaction_control() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    finds(
        db,
        &["CREATE TABLE a (id uuid CONSTRAINT a_pkey PRIMARY KEY); COMMIT; BEGIN"],
        &[Rule::TransactionControl],
    )
    .await;
    passes(db, &["SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a"]).await;
    // The COMMIT was not carried out.
    assert_eq!(report(db, &["CREATE TABLE a (id uuid)"]).await.findings.len(), 1);
}

#[tokio::test]
async fn finds_session_state() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    finds(db, &["SET statement_timeout = '1min'"], &[Rule::SessionSetting]).await;
    finds(db, &["SELECT set_config('work_mem', '64MB', false)"], &[Rule::SessionSetting]).await;
    finds(db, &["DO $$ BEGIN SET work_mem = '64MB'; END $$"], &[Rule::SessionSetting]).await;
    finds(db, &["CREATE TEMP TABLE staging (a int)"], &[Rule::TemporaryTable]).await;
    finds(db, &["SELECT 1 AS a INTO TEMP staging"], &[Rule::TemporaryTable]).await;
    passes(
        db,
        &[
            "SET LOCAL statement_timeout = '1min'; SET CONSTRAINTS ALL IMMEDIATE",
            "CREATE TEMP TABLE staging (a int) ON COMMIT DROP; DECLARE c CURSOR FOR SELECT 1",
            "CREATE TEMP TABLE staging (a int) ON COMMIT DROP",
            "SELECT set_config('work_mem', '64MB', true)",
        ],
    )
    .await;
    // Outside a transaction there is no other way, and the session is the migration's own.
    passes(db, &["-- alone\nSET statement_timeout = '1min'"]).await;
    passes(db, &["/* check: allow session-setting because tried */ SET work_mem = '64MB'"]).await;
}

#[tokio::test]
async fn finds_temporary_tables_of_the_builder() {
    use sea_orm::sea_query::{ColumnDef, PostgresQueryBuilder, Table};
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let table = Table::create()
        .table("staging")
        .temporary()
        .col(ColumnDef::new("a").integer())
        .to_string(PostgresQueryBuilder);
    finds(db, &[table.leak()], &[Rule::TemporaryTable]).await;
}
