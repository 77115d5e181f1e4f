//! `migration verify`: what was planted by hand is found and named, and nothing else is.

use std::collections::BTreeMap;

use migration::{
    Action, AnyMigrator, Error, Target, Timeouts, run, tenant,
    verify::{Finding, Scope, Verification, VerifyError, structure_in, verify},
};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use serde_json::{Value, json};
use service::tenancy::{Config, NewTenant, Tenancy};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    process::Ran,
    slug,
};

const FIRST: &str = "m20261123_000001_create_guards";
const NEWEST: &str = "m20261123_000002_create_shifts";

/// SQL for a tenant's schema, and what is to be said of it.
const PLANTED: [(&str, &[&str]); 36] = [
    (
        "DROP INDEX guards_position_idx",
        &["- index guards_position_idx ON guards USING btree (\"position\", id)"],
    ),
    (
        "CREATE INDEX guards_name_idx ON guards (lower(name)) WHERE name <> ''",
        &["+ index guards_name_idx ON guards USING btree (lower(name)) WHERE name <> ''::text"],
    ),
    (
        "DROP INDEX shifts_guard_id_idx; CREATE UNIQUE INDEX shifts_guard_id_idx ON shifts (guard_id, id)",
        &["~ index shifts_guard_id_idx: ON shifts USING btree (guard_id, id) → \
           UNIQUE ON shifts USING btree (guard_id, id)"],
    ),
    ("ALTER TABLE guards ADD badge int", &["+ column guards.badge integer"]),
    ("ALTER TABLE guards DROP COLUMN name", &["- column guards.name text not null"]),
    (
        "ALTER TABLE guards ALTER name TYPE varchar(40)",
        &["~ column guards.name: text not null → character varying(40) not null"],
    ),
    (
        "ALTER TABLE guards ALTER name SET DEFAULT 'x'",
        &["~ column guards.name: text not null → text not null default 'x'::text"],
    ),
    (
        "ALTER TABLE guards ALTER name DROP NOT NULL",
        &["~ column guards.name: text not null → text"],
    ),
    (
        "ALTER TABLE guards ALTER name TYPE text COLLATE \"C\"",
        &["~ column guards.name: text not null → text collate \"C\" not null"],
    ),
    (
        "ALTER TABLE guards ADD n int GENERATED ALWAYS AS IDENTITY",
        &["+ column guards.n integer not null generated always as identity"],
    ),
    (
        "ALTER TABLE guards ADD n int GENERATED ALWAYS AS (length(name)) STORED",
        &["+ column guards.n integer generated always as length(name) stored"],
    ),
    (
        "ALTER TABLE guards RENAME name TO nam; ALTER TABLE guards ADD name text NOT NULL;
         ALTER TABLE guards DROP nam",
        &["~ order of columns guards: id, name, position, inserted_at, updated_at → \
           id, position, inserted_at, updated_at, name"],
    ),
    (
        "CREATE TABLE notes (id uuid CONSTRAINT notes_pkey PRIMARY KEY, body text);
         GRANT SELECT ON notes TO PUBLIC; CREATE INDEX ON notes (body)",
        &["+ table notes (id, body)"],
    ),
    (
        "CREATE UNLOGGED TABLE notes (id uuid)",
        &["+ table notes (id) unlogged"],
    ),
    (
        "DROP TABLE shifts",
        &["- table shifts (id, guard_id, starts_at, ends_at, inserted_at, updated_at)"],
    ),
    (
        "ALTER TABLE shifts RENAME CONSTRAINT shifts_ends_at_check TO late",
        &[
            "+ constraint shifts.late CHECK (ends_at > starts_at)",
            "- constraint shifts.shifts_ends_at_check CHECK (ends_at > starts_at)",
        ],
    ),
    (
        "ALTER TABLE guards RENAME CONSTRAINT guards_pkey TO key",
        &[
            "+ constraint guards.key PRIMARY KEY (id)",
            "- constraint guards.guards_pkey PRIMARY KEY (id)",
        ],
    ),
    (
        "ALTER TABLE shifts DROP CONSTRAINT shifts_ends_at_check;
         ALTER TABLE shifts ADD CONSTRAINT shifts_ends_at_check CHECK (ends_at > starts_at) NOT VALID",
        &["~ constraint shifts.shifts_ends_at_check: CHECK (ends_at > starts_at) → \
           CHECK (ends_at > starts_at) NOT VALID"],
    ),
    (
        "ALTER TABLE shifts DISABLE TRIGGER ALL",
        &["~ constraint shifts.shifts_guard_id_fkey: FOREIGN KEY (guard_id) REFERENCES guards(id) \
           ON DELETE CASCADE → FOREIGN KEY (guard_id) REFERENCES guards(id) ON DELETE CASCADE \
           TRIGGERS DISABLED"],
    ),
    (
        "CREATE FUNCTION busy(guards) RETURNS bool STABLE LANGUAGE sql AS 'SELECT true'",
        &["+ function busy(guards) (guards) returns boolean language sql stable cost 100 \
           as SELECT true"],
    ),
    (
        "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER hush BEFORE INSERT ON guards FOR EACH ROW EXECUTE FUNCTION quiet()",
        &[
            "+ function quiet() () returns trigger language plpgsql cost 100 as BEGIN RETURN NULL; END",
            "+ trigger guards.hush BEFORE INSERT ON guards FOR EACH ROW EXECUTE FUNCTION quiet()",
        ],
    ),
    (
        "CREATE RULE never AS ON DELETE TO guards DO INSTEAD NOTHING",
        &["+ rule guards.never AS ON DELETE TO guards DO INSTEAD NOTHING;"],
    ),
    (
        "CREATE SEQUENCE numbers START 5",
        &["+ sequence numbers bigint start 5 increment 1 minvalue 1 maxvalue 9223372036854775807 \
           cache 1"],
    ),
    (
        "CREATE VIEW one AS SELECT 1 AS one",
        &["+ view one as SELECT 1 AS one;"],
    ),
    (
        "CREATE MATERIALIZED VIEW names AS SELECT 1 AS one; CREATE INDEX one_idx ON names (one)",
        &["+ materialized view names as SELECT 1 AS one;"],
    ),
    ("CREATE TYPE mood AS ENUM ('good', 'bad')", &["+ type mood enum ('good', 'bad')"]),
    (
        "CREATE DOMAIN age AS int CONSTRAINT adult CHECK (VALUE > 17)",
        &["+ type age domain over integer"],
    ),
    ("CREATE TYPE pair AS (a int, b guards)", &["+ type pair (a, b) composite"]),
    (
        "ALTER TABLE guards ENABLE ROW LEVEL SECURITY;
         CREATE POLICY mine ON guards FOR SELECT USING (name = current_user)",
        &[
            "~ table guards: nothing → row level security",
            "+ policy guards.mine for select to public using ((name = CURRENT_USER))",
        ],
    ),
    ("GRANT SELECT, INSERT ON guards TO PUBLIC", &["+ grant table guards to public INSERT, SELECT"]),
    (
        "REVOKE ALL ON guards FROM CURRENT_USER; GRANT SELECT ON guards TO CURRENT_USER",
        &["+ grant table guards to its owner SELECT"],
    ),
    ("GRANT UPDATE (name) ON guards TO PUBLIC", &["+ grant column guards.name to public UPDATE"]),
    (
        "ALTER TABLE guards OWNER TO pg_read_all_data",
        &["+ owner table guards pg_read_all_data"],
    ),
    (
        "CREATE STATISTICS pairs ON name, position FROM guards",
        &["+ statistics pairs ON name, \"position\" FROM guards"],
    ),
    (
        "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
         CREATE COLLATION plain (LOCALE = 'C')",
        &["+ operator ===(integer,integer)", "+ collation plain"],
    ),
    (
        "INSERT INTO seaql_migrations VALUES ('m2099_from_the_future', 0)",
        &["+ migration m2099_from_the_future on record, unknown to this build"],
    ),
];

#[tokio::test]
async fn what_was_planted_is_found_and_named() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let plain = db.plain().await;
    for (number, (sql, _)) in PLANTED.iter().enumerate() {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
        plant(&plain, &format!("tenant_{number}"), sql).await;
    }
    tenancy.create(NewTenant::new(slug("clean"))).await.unwrap();

    let found = all(&plain).await;
    assert_eq!((found.schemas, found.drifted), (PLANTED.len() + 1, PLANTED.len()));
    let said = said(&found);
    for (number, (sql, expected)) in PLANTED.iter().enumerate() {
        let mut lines = said[&format!("tenant_{number}")].clone();
        lines.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{sql}");
    }
    assert!(!said.contains_key("clean"));
}

#[tokio::test]
async fn a_fleet_that_is_as_it_should_be_is_clean() {
    let db = TestDb::new().await;
    // Slugs that are the name of a table, of a column, and a word that PostgreSQL quotes.
    db.with_tenants(["guards", "name", "shifts", "values", "tenant-1", "seaql"]).await;
    let plain = db.plain().await;
    let before = schemas(&plain).await;
    let ran = verify_with(&db, &["--all"]).exits(0);
    assert_eq!(ran.stdout, "6 schemas, 6 as they should be\n");
    assert_eq!(ran.stderr, "");
    // The reference is gone.
    assert_eq!(schemas(&plain).await, before);

    let none = TestDb::new().await;
    assert_eq!(verify_with(&none, &["--all"]).exits(0).stdout, "0 schemas, 0 as they should be\n");
}

#[tokio::test]
async fn the_same_drift_is_the_same_whatever_the_name_of_the_schema() {
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
async fn groups_are_shown_with_the_number_of_tenants() {
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
         4 schemas, 1 as it should be, 3 drifted in 2 ways\n"
    );
    let ran = verify_with(&db, &["--tenant", "tenant-2,tenant-4"]).exits(1);
    ran.says(["tenant-4", "2 schemas, 1 as it should be, 1 drifted in 1 way\n"]);
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
async fn what_the_registry_does_not_know_is_found() {
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
         0 schemas, 0 as they should be, 1 schema without a registry row, \
         1 registry row without a schema, 1 table in public\n"
    );
    // Besides the tenants that are asked for nothing is looked at.
    verify_with(&db, &["--schema", "tenant_1"]).exits(0);
    verify_with(&db, &["--tenant", "tenant-2"]).exits(1);
}

#[tokio::test]
async fn an_index_that_a_failed_build_left_is_found() {
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
async fn a_tenant_that_is_behind_is_right_at_its_version() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2", "tenant-3"]).await;
    migrate(&db, &["down", "--tenant", "tenant-1"]);
    migrate(&db, &["down", "-n", "2", "--tenant", "tenant-2"]);
    verify_with(&db, &["--all"]).exits(0).says(["3 schemas, 3 as they should be"]);
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
async fn records_that_are_wrong_are_told_from_structures_that_are() {
    let db = TestDb::new().await;
    db.with_tenants(["gone", "older", "newer", "none", "not-run"]).await;
    let plain = db.plain().await;
    let delete = format!("DELETE FROM seaql_migrations WHERE version = '{NEWEST}'");
    plant(&plain, "gone", &delete).await;
    let version = |slug: &str, version: &str| {
        format!("UPDATE registry.tenants SET schema_version = {version} WHERE slug = '{slug}'")
    };
    texts(&plain, &version("older", &format!("'{FIRST}'"))).await;
    texts(&plain, &version("none", "NULL")).await;
    texts(&plain, &version("newer", "'m2099_from_the_future'")).await;
    // A record without the work: made by hand on a schema that was behind.
    migrate(&db, &["down", "--tenant", "not-run"]);
    plant(&plain, "not_run", &format!("INSERT INTO seaql_migrations VALUES ('{NEWEST}', 0)")).await;
    texts(&plain, &version("not-run", &format!("'{NEWEST}'"))).await;

    let said = said(&all(&plain).await);
    let wrong = |version: &str| format!("~ registry schema_version: {NEWEST} → {version}");
    assert_eq!(said["gone"], [format!("- migration {NEWEST} on record")]);
    assert_eq!(said["older"], [wrong(FIRST)]);
    assert_eq!(said["none"], [wrong("none")]);
    assert_eq!(said["newer"], [wrong("m2099_from_the_future")]);
    assert_eq!(
        said["not_run"],
        ["- table shifts (id, guard_id, starts_at, ends_at, inserted_at, updated_at)"]
    );
}

#[tokio::test]
async fn a_schema_without_its_migrations_table_is_named_once() {
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
async fn what_cannot_be_verified_is_said() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    let ran = verify_with(&db, &["--tenant", "tenant-1,nobody"]).exits(1);
    assert_eq!(ran.stdout, "");
    ran.complains(["there is no tenant nobody"]);
    verify_with(&db, &["--schema", "missing"]).exits(1).complains(["\"missing\" does not exist"]);
    verify_with(&db, &[]).exits(2);
    verify_with(&db, &["--all", "--tenant", "tenant-1"]).exits(2);
    let plain = db.plain().await;
    texts(&plain, "DROP SCHEMA registry CASCADE").await;
    verify_with(&db, &["--all"]).exits(1).complains(["migration up --registry"]);
    verify_with(&db, &["--schema", "tenant_1"]).exits(0);
}

#[tokio::test]
async fn nothing_is_changed_and_nothing_is_left_behind() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    plant(&plain, "tenant_2", "DROP TABLE shifts").await;
    let structure = async |schema: &str| {
        let txn = plain.begin().await.unwrap();
        let structure = structure_in(&txn, &schema.parse().unwrap()).await.unwrap();
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

/// Migrations that write the name of their own schema into texts.
#[derive(Clone, Copy)]
struct SelfNaming;

struct Named;

impl MigrationName for Named {
    fn name(&self) -> &str {
        "m1_named"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Named {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "DO $$ BEGIN
            EXECUTE format('CREATE TABLE books (shelf text DEFAULT %L)', current_schema());
            EXECUTE format('CREATE FUNCTION titles() RETURNS bigint LANGUAGE sql SET search_path = %I
                AS ''SELECT count(*) FROM %1$I.books''', current_schema());
            END $$";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}

impl MigratorTraitSelf for SelfNaming {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Named)]
    }

    fn migration_table_name(&self) -> DynIden {
        "Library \"Migrations\"".into_iden()
    }
}

#[tokio::test]
async fn another_application_that_names_its_schemas_in_texts_is_verified_too() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), SelfNaming)).await.unwrap();
    for name in ["city", "village", "books"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let plain = db.plain().await;
    let migrator = AnyMigrator::new(SelfNaming);
    let found = verify(&plain, &migrator, &Scope::All).await.unwrap();
    assert_eq!((found.schemas, found.is_clean()), (3, true), "{found}");

    // One that looks into another's schema.
    plant(&plain, "city", "ALTER FUNCTION titles() SET search_path = village").await;
    let found = verify(&plain, &migrator, &Scope::All).await.unwrap();
    assert_eq!(said(&found).keys().collect::<Vec<_>>(), ["city"], "{found}");
    assert!(said(&found)["city"][0].contains("village"), "{found}");

    // The tables of this program's own tenants are none of the library's business.
    let error = verify(&plain, &migrator, &Scope::Tenants(vec![slug("nobody")])).await.unwrap_err();
    assert!(matches!(error, VerifyError::UnknownTenant(_)), "{error}");
    let missing = Scope::Schema("missing".parse().unwrap());
    let error = verify(&plain, &migrator, &missing).await.unwrap_err();
    assert!(matches!(error, VerifyError::Migration(Error::MissingSchema { .. })), "{error}");
}

/// A table, and an index that is built concurrently.
#[derive(Clone, Copy)]
struct Indexed;

/// Name, SQL, whether it has to run alone.
struct Sql(&'static str, &'static str, bool);

impl MigrationName for Sql {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Sql {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.1).await?;
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        self.2.then_some(false)
    }
}

impl MigratorTraitSelf for Indexed {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(Sql("m1_books", "CREATE TABLE books (title text)", false)),
            Box::new(Sql(
                "m2_index",
                "CREATE INDEX CONCURRENTLY books_title_idx ON books (title)",
                true,
            )),
            Box::new(Sql("m3_price", "ALTER TABLE books ADD price int", false)),
        ]
    }
}

#[tokio::test]
async fn a_migration_that_cannot_run_in_a_transaction_is_verified_too() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let migrator = AnyMigrator::new(Indexed);
    let city: entity::registry::SchemaName = "city".parse().unwrap();
    texts(&plain, "CREATE SCHEMA city").await;
    let target = Target::Schema(city.clone());
    run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    let scope = Scope::Schema(city);
    assert!(verify(&plain, &migrator, &scope).await.unwrap().is_clean());
    texts(&plain, "DROP INDEX city.books_title_idx").await;
    let found = verify(&plain, &migrator, &scope).await.unwrap();
    assert_eq!(said(&found)["city"], ["- index books_title_idx ON books USING btree (title)"]);
    // A migration that came late, by a merge, is not yet on record: that is no drift.
    texts(&plain, "DELETE FROM city.seaql_migrations WHERE version = 'm2_index'").await;
    assert!(verify(&plain, &migrator, &scope).await.unwrap().is_clean());
}

#[tokio::test]
async fn one_connection_is_enough_and_migrating_meanwhile_is_no_drift() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    for number in 0..40 {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
    }
    let mut options = sea_orm::ConnectOptions::new(db.url());
    options.max_connections(1).sqlx_logging(false);
    let single = migration::connect::open(options).await.unwrap();
    let other = db.plain().await;
    let moving = tokio::spawn(async move {
        let migrator = AnyMigrator::new(tenant::Migrator);
        for number in 0..40 {
            let target = Target::Schema(format!("tenant_{number}").parse().unwrap());
            for action in [Action::Down(2), Action::Up(None)] {
                run(&other, &target, &migrator, &action, Timeouts::default()).await.unwrap();
            }
        }
    });
    let mut times = 0;
    while !moving.is_finished() || times == 0 {
        let found = all(&single).await;
        assert!(found.is_clean(), "{found}");
        times += 1;
    }
    moving.await.unwrap();
}

/// Everything that is wrong in a database.
async fn all(db: &DatabaseConnection) -> Verification {
    verify(db, &AnyMigrator::new(tenant::Migrator), &Scope::All).await.unwrap()
}

/// What is said of each schema that drifted.
fn said(found: &Verification) -> BTreeMap<String, Vec<String>> {
    let mut said = BTreeMap::new();
    for finding in &found.findings {
        if let Finding::Drift { tenants, difference, .. } = finding {
            let lines: Vec<String> = difference.iter().map(ToString::to_string).collect();
            for tenant in tenants {
                said.insert(tenant.schema.to_string(), lines.clone());
            }
        }
    }
    said
}

/// Runs SQL in the scope of a schema.
async fn plant(db: &DatabaseConnection, schema: &str, sql: &str) {
    let script = format!("BEGIN; SET LOCAL search_path = \"{schema}\"; {sql}; COMMIT");
    db.execute_unprepared(&script).await.unwrap();
}

async fn texts_in(txn: &sea_orm::DatabaseTransaction, sql: &str) -> Vec<String> {
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
    let rows = txn.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

fn verify_with(db: &TestDb, arguments: &[&str]) -> Ran {
    Ran::on("migration", &db.url(), &[&["verify"], arguments].concat())
}

fn migrate(db: &TestDb, arguments: &[&str]) {
    Ran::on("migration", &db.url(), arguments).exits(0);
}
