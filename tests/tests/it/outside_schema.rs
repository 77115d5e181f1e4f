//! Migrations that create objects outside their schema fail and are rolled back.

mod non_transactional;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Error, Target, Timeouts, create_schema,
    drift::{VerifyTarget, verify},
    lint::{Profile, Rule, check},
    run,
};

use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{Sql, SqlMigrator, sql_migrator},
};

/// A migration that cannot be recorded.
fn migrator(up: &'static str) -> SqlMigrator {
    let before = Sql {
        name: "m1_reads",
        up: "CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (1)",
        down: "DROP TABLE things",
        alone: false,
        breaking: false,
    };
    sql_migrator([
        before,
        Sql { name: "m2_leaves", up, down: "SELECT 1", alone: false, breaking: false },
    ])
}

const NO_LIMIT: Timeouts = Timeouts { lock: None, statement: None, snapshot: None };

fn city() -> Target {
    Target::Schema("city".parse().unwrap())
}

async fn up(db: &DatabaseConnection, up: &'static str) -> Result<(), Error> {
    let migrator = DynMigrator::tenant(migrator(up));
    run(db, &city(), &migrator, &Action::Up(None), NO_LIMIT).await.map(drop)
}

/// All objects in the database outside the schema `city`.
const ALL: &str = "SELECT pg_describe_object(classid, objid, objsubid) FROM (
    SELECT DISTINCT classid, objid, objsubid FROM pg_depend WHERE classid <> 0 AND objid >= 16384) it
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace
    UNION ALL SELECT 'role ' || rolname FROM pg_roles ORDER BY 1";

async fn database() -> (TestDb, DatabaseConnection) {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    plain
        .execute_unprepared(
            "CREATE SCHEMA city; CREATE SCHEMA town; CREATE TABLE town.homes (id int PRIMARY KEY);
             CREATE SCHEMA shared; CREATE TABLE shared.kinds (id int PRIMARY KEY);
             CREATE VIEW shared.kind AS SELECT 1 AS id; CREATE TYPE shared.mood AS ENUM ('glad');
             CREATE FUNCTION shared.two() RETURNS int LANGUAGE sql AS 'SELECT 2';
             CREATE FUNCTION shared.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        )
        .await
        .unwrap();
    (db, plain)
}

const OUTSIDE: [(&str, &str); 44] = [
    ("DO $$ BEGIN CREATE EXTENSION hstore; END $$", "extension hstore"),
    ("CREATE TABLE public.notes (id serial PRIMARY KEY)", "table public.notes"),
    ("CREATE TABLE town.notes ()", "table town.notes"),
    ("CREATE VIEW public.notes AS SELECT 1 AS one", "view public.notes"),
    ("CREATE MATERIALIZED VIEW public.notes AS SELECT 1 AS one", "materialized view public.notes"),
    ("CREATE SEQUENCE public.notes", "sequence public.notes"),
    ("CREATE TABLE public.notes AS SELECT 1 AS one", "table public.notes"),
    ("CREATE TYPE public.notes AS ENUM ('a')", "type public.notes"),
    ("CREATE TYPE public.notes AS (a int)", "type public.notes"),
    ("CREATE TYPE public.notes AS RANGE (SUBTYPE = int4)", "type public.notes"),
    ("CREATE DOMAIN public.notes AS int", "type public.notes"),
    ("CREATE FUNCTION public.f(int) RETURNS int RETURN 1", "function public.f(integer)"),
    ("CREATE PROCEDURE town.f() LANGUAGE sql AS ''", "procedure town.f()"),
    ("CREATE AGGREGATE public.f(int) (SFUNC = int4pl, STYPE = int)", "aggregate public.f(integer)"),
    ("CREATE SCHEMA other", "schema other"),
    ("CREATE SCHEMA other CREATE TABLE inside (id int)", "schema other"),
    (
        "CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
        "operator public.===",
    ),
    ("CREATE COLLATION public.notes (LOCALE = 'C')", "collation public.notes"),
    (
        "CREATE TEXT SEARCH CONFIGURATION public.notes (COPY = english)",
        "text search configuration public.notes",
    ),
    (
        "CREATE STATISTICS public.notes ON (id + 1), (id + 2) FROM things",
        "statistics object public.notes",
    ),
    ("DO $$ BEGIN CREATE TABLE public.notes (); END $$", "table public.notes"),
    (
        "DO $$ BEGIN CREATE TABLE public.notes (); EXCEPTION WHEN OTHERS THEN NULL; END $$",
        "table public.notes",
    ),
    (
        "DO $$ BEGIN EXECUTE 'CREATE TABLE ' || 'pub' || 'lic.notes ()'; END $$",
        "table public.notes",
    ),
    (
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE format('CREATE TABLE %I.notes ()', 'public'); END $$; SELECT make()",
        "table public.notes",
    ),
    ("SAVEPOINT a; CREATE TABLE public.notes (); RELEASE a", "table public.notes"),
    // A dump.
    (
        "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.notes ()",
        "table public.notes",
    ),
    (
        "SELECT set_config('search_path', 'town', true); CREATE TABLE notes ();
         SELECT set_config('search_path', '\"city\",pg_temp', true)",
        "table town.notes",
    ),
    ("ALTER TABLE things SET SCHEMA public", "table public.things"),
    ("CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood SET SCHEMA shared_2", ""),
    ("CREATE TYPE moods AS ENUM ('a'); ALTER TYPE moods SET SCHEMA shared", "type shared.moods"),
    (
        "CREATE FUNCTION f() RETURNS int RETURN 1; ALTER FUNCTION f SET SCHEMA town",
        "function town.f()",
    ),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER t BEFORE INSERT ON shared.kinds FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger t on shared.kinds",
    ),
    ("CREATE INDEX i ON shared.kinds ((id + 1))", "index shared.i"),
    ("CREATE INDEX ON town.homes (id)", "index town.homes_id_idx"),
    ("ALTER TABLE shared.kinds ADD COLUMN name text", "column shared.kinds.name"),
    ("ALTER TABLE shared.kinds ADD CONSTRAINT c CHECK (id > 0)", "constraint c on shared.kinds"),
    ("CREATE POLICY p ON shared.kinds", "policy p on shared.kinds"),
    ("CREATE RULE r AS ON INSERT TO shared.kinds DO ALSO NOTHING", "rule r on shared.kinds"),
    ("CREATE OR REPLACE VIEW shared.kind AS SELECT 2 AS id", "on shared.kind"),
    (
        "CREATE OR REPLACE FUNCTION shared.two() RETURNS int LANGUAGE sql AS 'SELECT 3'",
        "function shared.two()",
    ),
    ("ALTER TYPE shared.mood ADD VALUE 'sad'", "type shared.mood"),
    ("CREATE FOREIGN DATA WRAPPER w", "foreign-data wrapper w"),
    (
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION shared.on_ddl()",
        "event trigger e",
    ),
    ("CREATE ROLE outside_schema", "a role"),
];

#[tokio::test]
async fn migration_that_creates_objects_outside_fails_and_is_rolled_back() {
    let (_db, plain) = database().await;
    let before = texts(&plain, ALL).await;
    for (sql, object) in OUTSIDE {
        let error = up(&plain, sql).await.unwrap_err();
        if !object.is_empty() {
            assert!(matches!(error, Error::CreatedOutside { .. }), "{sql}: {error}");
            let text = error.to_string();
            assert!(text.contains("m2_leaves") && text.contains(object), "{sql}: {text}");
        }
        assert_eq!(texts(&plain, ALL).await, before, "{sql}");
    }
}

#[tokio::test]
async fn detects_objects_outside_without_track_counts() {
    let (db, plain) = database().await;
    plain
        .execute_unprepared(&format!("ALTER DATABASE {} SET track_counts = off", db.name()))
        .await
        .unwrap();
    let blind = db.plain().await;
    let before = texts(&plain, ALL).await;
    for (sql, object) in OUTSIDE.into_iter().filter(|(_, object)| !["", "a role"].contains(object))
    {
        let error = up(&blind, sql).await.unwrap_err().to_string();
        assert!(error.contains(object), "{sql}: {error}");
        assert_eq!(texts(&plain, ALL).await, before, "{sql}");
    }
    up(&blind, INSIDE[0]).await.unwrap();
}

/// Objects inside the schema, and statements that create none.
const INSIDE: [&str; 7] = [
    "CREATE TABLE fks (id serial PRIMARY KEY, kind int REFERENCES shared.kinds);
     CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a int, b mood); CREATE DOMAIN d AS mood;
     CREATE TYPE ranged AS RANGE (SUBTYPE = int4); CREATE INDEX ON fks (kind);
     CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
     CREATE TRIGGER t BEFORE INSERT ON fks FOR EACH ROW EXECUTE FUNCTION f();
     CREATE VIEW v AS SELECT k.id FROM fks JOIN shared.kinds k ON k.id = kind;
     CREATE CAST (pair AS ranged) WITH INOUT; CREATE STATISTICS s ON id, kind FROM fks",
    "CREATE TEMP TABLE staging (id serial PRIMARY KEY) ON COMMIT DROP;
     CREATE TEMP VIEW seen AS SELECT * FROM staging; INSERT INTO things SELECT * FROM staging",
    "SAVEPOINT a; CREATE TABLE public.notes (); ROLLBACK TO a",
    "CREATE TABLE public.notes (); DROP TABLE public.notes",
    "INSERT INTO shared.kinds VALUES (7); GRANT SELECT ON shared.kinds TO PUBLIC;
     GRANT USAGE ON SCHEMA shared TO PUBLIC; COMMENT ON TABLE shared.kinds IS 'kinds'",
    "GRANT EXECUTE ON FUNCTION shared.two() TO PUBLIC; CREATE FUNCTION mine() RETURNS int RETURN 1;
     ANALYZE shared.kinds; LOCK TABLE shared.kinds; TRUNCATE town.homes",
    "CREATE TABLE parted (id int) PARTITION BY LIST (id); CREATE INDEX ON parted (id);
     CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); ALTER TABLE things ADD UNIQUE (id);
     ALTER DEFAULT PRIVILEGES IN SCHEMA city GRANT SELECT ON TABLES TO PUBLIC",
];

#[tokio::test]
async fn objects_inside_the_schema_pass() {
    for sql in INSIDE {
        let (_db, plain) = database().await;
        up(&plain, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[tokio::test]
async fn objects_outside_are_allowed_with_a_reason() {
    let (_db, plain) = database().await;
    for sql in [
        "/* check: allow outside-schema because */ CREATE TABLE public.notes ()",
        "/* check: allow schema-qualified because it is meant */ CREATE TABLE public.notes ()",
        "SELECT '/* check: allow outside-schema because it is meant */'; CREATE TABLE public.notes ()",
    ] {
        let error = up(&plain, sql).await.unwrap_err();
        assert!(matches!(error, Error::CreatedOutside { .. }), "{sql}: {error}");
    }
    let meant = "/* check: allow outside-schema because all tenants share them */
        CREATE TABLE IF NOT EXISTS public.notes (id int PRIMARY KEY);
        /* check: allow outside-schema because they are few */
        CREATE TABLE own_notes (id int PRIMARY KEY REFERENCES public.notes)";
    let allowed = migrator(meant);
    let later = Sql {
        name: "m3_later",
        up: "CREATE TYPE a AS ENUM ('a')",
        down: "DROP TYPE a",
        alone: false,
        breaking: false,
    };
    let all = SqlMigrator { migrations: [allowed.migrations, vec![later]].concat(), ..allowed };
    // Allowed objects are not reported again after the next migration.
    let migrator = DynMigrator::tenant(all.clone());
    run(&plain, &city(), &migrator, &Action::Up(None), NO_LIMIT).await.unwrap();
    let tenancy = Tenancy::connect(&Config::new(_db.url(), all)).await.unwrap();
    tenancy.create(NewTenant::new(slug("one"))).await.unwrap();
    tenancy.create(NewTenant::new(slug("two"))).await.unwrap();
    let found =
        verify(&plain, &migrator, &VerifyTarget::Tenants(vec![slug("one"), slug("two")])).await;
    assert!(found.unwrap().is_clean());
    let report = check(&plain, &migrator, Profile::Citus).await.unwrap();
    let rules = [Rule::OutsideSchema, Rule::UnusedAllow];
    let wrong = report.findings.iter().find(|it| rules.contains(&it.rule));
    assert_eq!(wrong, None, "{report:#?}");
}

#[tokio::test]
async fn creation_with_objects_outside_is_rolled_back() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let before = texts(&plain, ALL).await;
    for sql in [
        "CREATE TABLE public.notes ()",
        "DO $$ BEGIN CREATE FUNCTION public.f() RETURNS int RETURN 1; END $$",
        "CREATE SCHEMA other",
    ] {
        let migrator = migrator(sql);
        let config = Config::new(db.url(), migrator.clone());
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let error = tenancy.create(NewTenant::new(slug("one"))).await.unwrap_err().to_string();
        assert!(error.contains("m2_leaves") && error.contains("outside the schema"), "{error}");
        tenancy.close().await;
        let error = verify_reference(&plain, &DynMigrator::tenant(migrator)).await.to_string();
        assert!(error.contains("outside the schema"), "{error}");
        assert_eq!(texts(&plain, ALL).await, before, "{sql}");
        assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);
    }
}

async fn verify_reference(db: &DatabaseConnection, migrator: &DynMigrator) -> Error {
    tenantry_migrate::drift::embeds_schema_name(db, migrator).await.unwrap_err()
}

#[tokio::test]
async fn objects_created_earlier_in_the_transaction_pass() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let txn = plain.begin().await.unwrap();
    txn.execute_unprepared(
        "CREATE TABLE public.callers (id int PRIMARY KEY); CREATE TYPE public.kind AS ENUM ('a');
         CREATE FUNCTION public.f() RETURNS int RETURN 1; CREATE SCHEMA callers",
    )
    .await
    .unwrap();
    let inside = "CREATE TABLE a (id int PRIMARY KEY); CREATE FUNCTION g() RETURNS int RETURN 1;
                  CREATE TYPE kind AS ENUM ('a')";
    let migrator = DynMigrator::tenant(migrator(inside));
    create_schema(&txn, &"one".parse().unwrap(), &migrator).await.unwrap();
    create_schema(&txn, &"two".parse().unwrap(), &migrator).await.unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn objects_of_concurrent_transactions_pass() {
    let (db, plain) = database().await;
    let other = db.plain().await;
    // Waits while the other transaction creates objects and commits some of them.
    let waits = "CREATE FUNCTION mine() RETURNS int RETURN 1; CREATE TYPE mine AS ENUM ('a');
        SELECT pg_advisory_xact_lock(7); CREATE TABLE mine_too (id int PRIMARY KEY)";
    let started = other.begin().await.unwrap();
    started.execute_unprepared("SELECT pg_advisory_xact_lock(7)").await.unwrap();
    let open = db.plain().await.begin().await.unwrap();
    open.execute_unprepared(
        "CREATE TABLE public.open (); CREATE FUNCTION public.open() RETURNS int RETURN 1",
    )
    .await
    .unwrap();
    let migration = async { up(&plain, waits).await };
    let others = async {
        crate::support::http_server::eventually("it waits", async || {
            let waits =
                "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            texts(&open_connection(&db).await, waits).await == ["1"]
        })
        .await;
        let third = db.plain().await;
        third
            .execute_unprepared(
                "CREATE TABLE public.done (id serial PRIMARY KEY); CREATE SCHEMA done;
                 CREATE FUNCTION public.done() RETURNS int RETURN 1; CREATE TYPE public.dones AS ENUM ('a')",
            )
            .await
            .unwrap();
        started.commit().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migration, others);
    migrated.unwrap();
    open.rollback().await.unwrap();
}

async fn open_connection(db: &TestDb) -> DatabaseConnection {
    db.plain().await
}

#[tokio::test]
async fn check_finds_objects_outside() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for sql in [
        "CREATE TABLE public.notes (id int PRIMARY KEY)",
        "DO $$ BEGIN EXECUTE 'CREATE FUNCTION pub' || 'lic.notes() RETURNS int RETURN 1'; END $$",
        "DO $$ BEGIN EXECUTE 'CREATE SCHEMA notes'; END $$",
    ] {
        let report =
            check(&plain, &DynMigrator::tenant(migrator(sql)), Profile::Citus).await.unwrap();
        let leaves: Vec<_> =
            report.findings.iter().filter(|it| it.rule == Rule::OutsideSchema).collect();
        assert_eq!(leaves.len(), 1, "{sql}: {report:#?}");
        assert!(leaves[0].message.contains("notes"), "{report:#?}");
        assert_eq!(
            texts(&plain, "SELECT nspname::text FROM pg_namespace WHERE nspname = 'notes'").await,
            [""; 0]
        );
    }
}
