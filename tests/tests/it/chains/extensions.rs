//! Types, operators, functions and operator classes of extensions in migrations.

use tenantry_migrate::Extension;

use super::{
    Chain, Migrations, alone, first, sql,
    ways::{fails_everywhere, works_everywhere},
};

fn migrations() -> Migrations {
    vec![
        first(),
        sql(
            "m2_people",
            "CREATE TABLE people (
                 id uuid DEFAULT uuid_generate_v4() CONSTRAINT people_pkey PRIMARY KEY,
                 email citext NOT NULL CONSTRAINT people_email_key UNIQUE,
                 aliases citext[] DEFAULT '{}', tags hstore DEFAULT '', name text);
             CREATE INDEX people_name_idx ON people USING gin (name gin_trgm_ops);
             CREATE INDEX people_tags_idx ON people USING gin (tags);
             INSERT INTO people (email, tags, name) VALUES ('Ann@X.org', 'a=>1', 'Ann'),
                 ('bob@x.org', hstore('b', '2'), 'Bob');
             UPDATE people SET name = 'Anna', tags = tags || 'c=>3' WHERE email = 'ANN@x.ORG';
             INSERT INTO people (email, name) VALUES ('c@x.org', 'Carl');
             DELETE FROM people WHERE similarity(name, 'Carla') > 0.3",
            "DROP TABLE people",
        ),
        sql(
            "m3_functions",
            "CREATE FUNCTION found(wanted citext) RETURNS bigint LANGUAGE sql STABLE
                 SET search_path FROM CURRENT
                 AS 'SELECT count(*) FROM people WHERE email = wanted';
             CREATE FUNCTION tag(key text) RETURNS SETOF text LANGUAGE sql STABLE BEGIN ATOMIC
                 SELECT tags -> key FROM people WHERE tags ? key ORDER BY 1; END;
             CREATE VIEW anns AS SELECT name FROM people WHERE name % 'Anne' AND email ~ 'ANN';
             ALTER TABLE people ADD CONSTRAINT people_email_check CHECK (email <> 'ROOT@x.org')",
            "ALTER TABLE people DROP CONSTRAINT people_email_check;
             DROP VIEW anns; DROP FUNCTION found, tag",
        ),
    ]
}

fn extensions() -> Vec<Extension> {
    ["citext", "pg_trgm", "uuid-ossp", "hstore"].map(Extension::new).into()
}

/// In schemas that an administrator may have chosen.
fn elsewhere() -> Vec<Extension> {
    let [citext, others @ ..] = ["citext", "pg_trgm", "uuid-ossp", "hstore"].map(Extension::new);
    let mut all = vec![citext.in_schema("public")];
    all.extend(others.map(|it| it.in_schema("user_defined")));
    all
}

const PROBE: &str = "SELECT email::text || ' ' || name || ' ' || found('ANN@X.ORG') || ' '
    || (SELECT string_agg(tag, ',') FROM tag('c')) || ' ' || (SELECT string_agg(name, ',') FROM anns)
    FROM people ORDER BY 1";
const ROWS: [&str; 2] = ["Ann@X.org Anna 1 3 Anna", "bob@x.org Bob 1 3 Anna"];

#[tokio::test]
async fn types_operators_and_functions_of_extensions_are_found_everywhere() {
    works_everywhere(Chain { extensions, ..Chain::new(migrations) }, PROBE, &ROWS).await;
}

#[tokio::test]
async fn extensions_may_be_in_other_schemas() {
    let chain = Chain { extensions: elsewhere, ..Chain::new(migrations) };
    works_everywhere(chain, PROBE, &ROWS).await;
}

fn creates() -> Migrations {
    vec![first(), sql("m2_creates", "CREATE EXTENSION IF NOT EXISTS hstore", "SELECT 1")]
}

fn drops() -> Migrations {
    vec![first(), sql("m2_drops", "DROP EXTENSION IF EXISTS citext CASCADE", "SELECT 1")]
}

#[tokio::test]
async fn statements_about_extensions_are_not_sent() {
    let words = ["m2_creates", "was not sent", "TenantMigrator::extensions()"];
    fails_everywhere(Chain { extensions: citext, ..Chain::new(creates) }, &words).await;
    let words = ["m2_drops", "was not sent", "all tenants"];
    fails_everywhere(Chain { extensions: citext, ..Chain::new(drops) }, &words).await;
}

/// The first statements of a dump.
fn dumped() -> Migrations {
    vec![
        first(),
        sql(
            "m2_dumped",
            "CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;
             CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA extensions;
             ALTER TABLE books ADD COLUMN code extensions.citext DEFAULT 'A';
             CREATE VIEW a AS SELECT * FROM books WHERE code = 'a'",
            "DROP VIEW a; ALTER TABLE books DROP COLUMN code",
        ),
    ]
}

fn citext() -> Vec<Extension> {
    vec![Extension::new("citext")]
}

#[tokio::test]
async fn an_extension_that_is_declared_may_be_created_if_it_does_not_exist() {
    let chain = Chain { extensions: citext, ..Chain::new(dumped) };
    works_everywhere(chain, "SELECT count(*)::text FROM a", &["0"]).await;
}

fn outside() -> Migrations {
    let mut all = migrations();
    all.insert(
        2,
        alone(
            "m2_trigrams",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS people_email_idx
                 ON people USING gin ((email::text) gin_trgm_ops)",
            "DROP INDEX CONCURRENTLY IF EXISTS people_email_idx",
        ),
    );
    all
}

#[tokio::test]
async fn a_migration_outside_a_transaction_finds_extensions() {
    works_everywhere(Chain { extensions, ..Chain::new(outside) }, PROBE, &ROWS).await;
}
