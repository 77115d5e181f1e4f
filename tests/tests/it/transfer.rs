//! Copies of one tenant: export, import, clone.

mod command;
mod concurrent;
mod copies;
mod http;
mod killed;
mod refused;
mod restore;
mod versions;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{Config, ImportOptions, Imported, NewTenant, Slug, Tenancy};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    slug,
    sql_migration::{Sql, SqlMigrator, sql_migrator},
};

/// A migration that creates something for every rule of a copy.
const WIDE: Sql = Sql {
    name: "m1_wide",
    up: r#"
CREATE TYPE mood AS ENUM ('happy', 'it''s "odd"');
CREATE TYPE place AS (name text, mood mood);
CREATE DOMAIN price AS numeric(10, 2) CHECK (value >= 0);
CREATE SEQUENCE tickets START 100 INCREMENT 7;
CREATE TABLE countries (code text PRIMARY KEY, name text);
INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France');
CREATE TABLE "Odd ""name"", with; all" (
    "select" int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "a ""b""" text, country text REFERENCES countries
);
CREATE TABLE wide (
    id uuid PRIMARY KEY,
    number bigserial,
    twice bigint GENERATED ALWAYS AS (number * 2) STORED,
    data bytea, money numeric, price price, list int[], moods mood[], mood mood, place place,
    document jsonb, at timestamptz, day date, span interval, ratio float8, words text, flag boolean,
    address inet, range int4range, search tsvector, relation regclass
);
CREATE TABLE empty (id int PRIMARY KEY);
CREATE TABLE nothing ();
CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree);
CREATE TABLE heads (id int PRIMARY KEY, team int NOT NULL);
CREATE TABLE teams (id int PRIMARY KEY, head int REFERENCES heads DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE heads ADD CONSTRAINT heads_team_fkey FOREIGN KEY (team) REFERENCES teams ON DELETE CASCADE;
COMMENT ON CONSTRAINT heads_team_fkey ON heads IS 'it''s a cycle';
CREATE TABLE measured (day date NOT NULL, value int, PRIMARY KEY (day)) PARTITION BY RANGE (day);
CREATE TABLE measured_old PARTITION OF measured FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE measured_new PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (extra text) INHERITS (parent);
CREATE TABLE log (id int PRIMARY KEY, fired int NOT NULL DEFAULT 0);
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.fired := NEW.fired + 1; RETURN NEW; END';
CREATE TRIGGER fires BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION count_up();
CREATE TRIGGER always BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION count_up();
ALTER TABLE log ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER never BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION count_up();
ALTER TABLE log DISABLE TRIGGER never;
ALTER TABLE log ADD CONSTRAINT small CHECK (id < 100) NOT VALID;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS heads FROM heads;
CREATE MATERIALIZED VIEW more_totals AS SELECT heads + 1 AS heads FROM totals;
CREATE VIEW plain AS SELECT id FROM wide;
"#,
    down: "SELECT 1",
    alone: false,
    breaking: false,
};

/// Rows for all tables of [`WIDE`], in the schema of `search_path`.
const ROWS: &str = r#"
INSERT INTO countries VALUES ('at', NULL);
DELETE FROM countries WHERE code = 'fr';
INSERT INTO "Odd ""name"", with; all" ("a ""b""", country) VALUES (E'tab\t, line\n, \\. and \\N', 'de'), (NULL, 'at');
INSERT INTO wide (id, data, money, price, list, moods, mood, place, document, at, day, span, ratio, words, flag,
    address, range, search, relation)
VALUES ('00000000-0000-7000-8000-000000000001', '\x00ff0a5c', 'NaN', 1.50, '{1,NULL,3}',
    ARRAY['happy', 'it''s "odd"']::mood[], 'it''s "odd"', ROW('here, "there"', 'happy')::place,
    '{"a": [1, null, "\\u00fc"]}', 'infinity', '-infinity', '1 mon -2 days 03:04:05.6', 'NaN',
    E'ünï\\N\r\n\\.\n', true, '10.0.0.0/8', '[1,5)', to_tsvector('simple', 'a cat'), 'empty'),
    ('00000000-0000-7000-8000-000000000002', '', '12345678901234567890.123456789', NULL, '{}', NULL, NULL, NULL,
    'null', '2026-11-30 01:02:03.456789+05', '4713-01-01 BC', '0', '-Infinity', '', NULL, '::1', 'empty', '', NULL);
INSERT INTO wide (id, ratio, words) SELECT gen_random_uuid(), random(), repeat('x', 1000) FROM generate_series(1, 3000);
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO tree SELECT n, nullif(n - 1, 0) FROM generate_series(1, 500) n ORDER BY n;
INSERT INTO teams VALUES (1, 11), (2, 22);
INSERT INTO heads VALUES (11, 2), (22, 1);
INSERT INTO measured SELECT '2019-12-01'::date + n, n FROM generate_series(1, 60) n;
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (2, 'x');
INSERT INTO log VALUES (1);
ALTER TABLE log DROP CONSTRAINT small;
INSERT INTO log VALUES (100);
ALTER TABLE log ADD CONSTRAINT small CHECK (id < 100) NOT VALID;
SELECT nextval('tickets'), nextval('tickets');
REFRESH MATERIALIZED VIEW totals;
REFRESH MATERIALIZED VIEW more_totals;
"#;

/// A database whose tenants have the tables of [`WIDE`], and its tenant `tenant-1` with rows.
struct Wide {
    // Before the database: it holds connections to it.
    tenancy: Tenancy,
    plain: DatabaseConnection,
    _db: TestDb,
}

impl Wide {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let tenancy = tenancy(&db, sql_migrator([WIDE])).await;
        let plain = db.plain().await;
        create_filled(&tenancy, &plain, ROWS).await;
        Self { tenancy, plain, _db: db }
    }

    async fn export(&self) -> Vec<u8> {
        export(&self.tenancy).await
    }
}

async fn tenancy(db: &TestDb, migrator: SqlMigrator) -> Tenancy {
    Tenancy::connect(&Config::new(db.url(), migrator)).await.unwrap()
}

/// Creates `tenant-1` with these rows.
async fn create_filled(tenancy: &Tenancy, plain: &DatabaseConnection, rows: &str) {
    let created = tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let fill = format!("SET LOCAL search_path = {}; {rows}", created.schema.quoted());
    plain.execute_unprepared(&format!("BEGIN; {fill}; COMMIT")).await.unwrap();
}

/// An export of `tenant-1`.
async fn export(tenancy: &Tenancy) -> Vec<u8> {
    let mut archive = Vec::new();
    tenancy.export(&slug("tenant-1"), &mut archive, &Default::default()).await.unwrap();
    archive
}

async fn import(
    tenancy: &Tenancy,
    archive: &[u8],
    as_slug: &str,
) -> Result<Imported, tenantry::Error> {
    let options = ImportOptions { slug: Some(slug(as_slug)), ..Default::default() };
    tenancy.import(archive, &options).await
}

/// Number and digest of the rows of each table and materialized view, and the state of each
/// sequence.
async fn contents(plain: &DatabaseConnection, schema: &str) -> Vec<String> {
    let relations = format!(
        "SELECT quote_ident(relname) || ' ' || relkind::text FROM pg_class
         WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'S', 'm')
         AND relname <> 'seaql_migrations' ORDER BY 1"
    );
    let mut found = Vec::new();
    for relation in texts(plain, &relations).await {
        let (name, kind) = relation.rsplit_once(' ').unwrap();
        let sql = match kind {
            "S" => format!("SELECT last_value || ' ' || is_called FROM {schema}.{name}"),
            _ => format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(replace(t::text, '{schema}.', ''), E'\\n' ORDER BY t::text)), '')
                 FROM ONLY {schema}.{name} t"
            ),
        };
        found.push(format!("{name} {}", texts(plain, &sql).await.concat()));
    }
    found
}

/// Asserts that nothing is left of a copy that failed.
async fn assert_nothing(tenancy: &Tenancy, plain: &DatabaseConnection, new: &Slug) {
    assert_eq!(tenancy.get(new).await.unwrap(), None);
    let schema = new.to_string().replace('-', "_");
    let found = schemas(plain).await;
    assert!(!found.contains(&schema), "{schema} is left: {found:?}");
}
