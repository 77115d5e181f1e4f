//! What tables can have since PostgreSQL 15, 17 or 18: `verify` sees it, and copies and adoptions
//! keep it.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tenantry::{AdoptOptions, Config, ImportOptions, NewTenant, Tenancy};
use tenantry_migrate::{
    DynMigrator,
    drift::{Finding, VerifyTarget, verify},
};

use crate::support::{
    TestDb,
    catalog::texts,
    database::{has_version, server},
    slug,
    sql_migration::{BOOKS, Sql, SqlMigrator, sql_migrator},
};

/// PostgreSQL 18. The keys are ranges, since `WITHOUT OVERLAPS` of numbers needs an extension.
const ROOMS: Sql = Sql {
    name: "m1_rooms",
    up: "
        CREATE TABLE rooms (id int4range, during daterange, beds int,
            people int GENERATED ALWAYS AS (beds * 2) VIRTUAL,
            CONSTRAINT rooms_pkey PRIMARY KEY (id, during WITHOUT OVERLAPS));
        CREATE TABLE stays (room int4range, during daterange, guest text,
            CONSTRAINT stays_room_fkey FOREIGN KEY (room, PERIOD during)
                REFERENCES rooms (id, PERIOD during),
            CONSTRAINT stays_guest_check CHECK (guest <> '') NOT ENFORCED);
        CREATE TABLE guests (name text CONSTRAINT guests_pkey PRIMARY KEY, town text, street text,
            inviter text CONSTRAINT guests_inviter_fkey REFERENCES guests NOT ENFORCED);
        ALTER TABLE guests ADD CONSTRAINT guests_town NOT NULL town NOT VALID;
        ALTER TABLE guests ADD CONSTRAINT guests_street NOT NULL street NO INHERIT;
        COMMENT ON CONSTRAINT guests_town ON guests IS 'old rows have none'",
    down: "SELECT 1",
    alone: false,
    breaking: false,
};

/// Rows that no constraint of these tables would let in now.
const ROWS: &str = "
    INSERT INTO rooms VALUES ('[1,2)', '[2026-01-01,2027-01-01)', 2), ('[1,2)', '[2027-01-01,)', 3);
    INSERT INTO stays VALUES ('[1,2)', '[2026-12-01,2027-02-01)', '');
    ALTER TABLE guests DROP CONSTRAINT guests_town;
    INSERT INTO guests VALUES ('Abu', NULL, 'High', 'unknown');
    ALTER TABLE guests ADD CONSTRAINT guests_town NOT NULL town NOT VALID;
    COMMENT ON CONSTRAINT guests_town ON guests IS 'old rows have none'";

const FEATURES: &str = "virtual columns, temporal keys and constraints that are not enforced";

async fn run_in(db: &DatabaseConnection, schema: &str, sql: &str) {
    let script = format!("BEGIN; SET LOCAL search_path = \"{schema}\"; {sql}; COMMIT");
    db.execute_unprepared(&script).await.unwrap();
}

async fn tenancy(db: &TestDb, migrator: SqlMigrator) -> Tenancy {
    Tenancy::connect(&Config::new(db.url(), migrator)).await.unwrap()
}

/// The lines of `verify` for the only schema that differs, if one does.
async fn differences(db: &DatabaseConnection, migrator: SqlMigrator) -> Vec<String> {
    let found = verify(db, &DynMigrator::new(migrator), &VerifyTarget::All).await.unwrap();
    let mut lines = Vec::new();
    for finding in &found.findings {
        let Finding::Drift { difference, .. } = finding else { panic!("{found}") };
        lines.extend(difference.iter().map(ToString::to_string));
    }
    lines
}

/// Asserts that the schema has the rows, and refuses new ones as the migrations say.
async fn assert_rooms(db: &DatabaseConnection, schema: &str) {
    let rows = format!(
        "SELECT people::text FROM {schema}.rooms UNION ALL SELECT guest FROM {schema}.stays
         UNION ALL SELECT inviter || coalesce(town, ' without town') FROM {schema}.guests"
    );
    assert_eq!(texts(db, &rows).await, ["4", "6", "", "unknown without town"], "{schema}");
    let comment = format!(
        "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
         WHERE conname = 'guests_town' AND connamespace = '{schema}'::regnamespace"
    );
    assert_eq!(texts(db, &comment).await, ["old rows have none"], "{schema}");
    for (sql, constraint) in [
        ("rooms VALUES ('[1,2)', '[2026-06-01,2026-07-01)', 1)", "rooms_pkey"),
        ("stays VALUES ('[1,2)', '[2025-01-01,2026-02-01)', 'Abu')", "stays_room_fkey"),
        ("guests VALUES ('Bea', NULL, 'Low')", "town"),
    ] {
        let insert = format!("INSERT INTO {schema}.{sql}");
        let error = db.execute_unprepared(&insert).await.unwrap_err().to_string();
        assert!(error.contains(constraint), "{schema}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_tenant_keep_temporal_and_unenforced_constraints() {
    if !has_version(18, FEATURES) {
        return;
    }
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = tenancy(&db, sql_migrator([ROOMS])).await;
    tenancy.create(NewTenant::new(slug("first"))).await.unwrap();
    run_in(&plain, "first", ROWS).await;
    let mut archive = Vec::new();
    tenancy.export(&slug("first"), &mut archive, &Default::default()).await.unwrap();
    let options = ImportOptions { slug: Some(slug("imported")), ..Default::default() };
    assert_eq!(tenancy.import(&archive[..], &options).await.unwrap().rows, 4);
    let cloned = tenancy.clone_tenant(&slug("first"), &slug("cloned"), &Default::default()).await;
    assert_eq!(cloned.unwrap().rows, 4);
    assert_eq!(differences(&plain, sql_migrator([ROOMS])).await, [""; 0]);
    for schema in ["first", "imported", "cloned"] {
        assert_rooms(&plain, schema).await;
    }
}

#[tokio::test]
async fn an_adoption_keeps_temporal_and_unenforced_constraints() {
    if !has_version(18, FEATURES) {
        return;
    }
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let migrator = sql_migrator([ROOMS]);
    crate::adopt::from_schema::single_tenant(&plain, &migrator).await;
    run_in(&plain, "public", ROWS).await;
    let tenancy = tenancy(&db, migrator.clone()).await;
    let options = AdoptOptions::objects_of("public");
    let adopted = tenancy.adopt(NewTenant::new(slug("acme")), &options).await.unwrap();
    assert_eq!(adopted.differences.len(), 0);
    assert_eq!(differences(&plain, migrator).await, [""; 0]);
    assert_rooms(&plain, "acme").await;
}

/// A change in one schema, what `verify` says of it, and the change that undoes it.
const CHANGES: [(u32, &str, &str, &str); 8] = [
    (
        18,
        "ALTER TABLE guests VALIDATE CONSTRAINT guests_town",
        "~ column guests.town: text not null not valid → text not null",
        "ALTER TABLE guests DROP CONSTRAINT guests_town;
         ALTER TABLE guests ADD CONSTRAINT guests_town NOT NULL town NOT VALID",
    ),
    (
        18,
        "ALTER TABLE guests ALTER CONSTRAINT guests_street INHERIT",
        "~ column guests.street: text not null no inherit → text not null",
        "ALTER TABLE guests ALTER CONSTRAINT guests_street NO INHERIT",
    ),
    (
        18,
        "ALTER TABLE guests ALTER CONSTRAINT guests_inviter_fkey ENFORCED",
        "~ constraint guests.guests_inviter_fkey: FOREIGN KEY (inviter) REFERENCES guests(name) \
         NOT ENFORCED → FOREIGN KEY (inviter) REFERENCES guests(name)",
        "ALTER TABLE guests ALTER CONSTRAINT guests_inviter_fkey NOT ENFORCED",
    ),
    (
        18,
        "ALTER TABLE rooms DROP COLUMN people,
             ADD COLUMN people int GENERATED ALWAYS AS (beds * 2) STORED",
        "~ column rooms.people: integer generated always as (beds * 2) virtual → \
         integer generated always as (beds * 2) stored",
        "ALTER TABLE rooms DROP COLUMN people,
             ADD COLUMN people int GENERATED ALWAYS AS (beds * 2) VIRTUAL",
    ),
    (
        18,
        "ALTER TABLE stays DROP CONSTRAINT stays_room_fkey;
         ALTER TABLE rooms DROP CONSTRAINT rooms_pkey, ADD CONSTRAINT rooms_pkey PRIMARY KEY (id, during)",
        "~ constraint rooms.rooms_pkey: PRIMARY KEY (id, during WITHOUT OVERLAPS) → \
         PRIMARY KEY (id, during)",
        "ALTER TABLE rooms DROP CONSTRAINT rooms_pkey,
             ADD CONSTRAINT rooms_pkey PRIMARY KEY (id, during WITHOUT OVERLAPS);
         ALTER TABLE stays ADD CONSTRAINT stays_room_fkey FOREIGN KEY (room, PERIOD during)
             REFERENCES rooms (id, PERIOD during)",
    ),
    // The name of NOT NULL does not matter: an upgrade from version 17 gives names by the columns.
    (18, "ALTER TABLE guests RENAME CONSTRAINT guests_town TO other", "", "SELECT 1"),
    (
        15,
        "CREATE UNIQUE INDEX one ON books (title) NULLS NOT DISTINCT",
        "+ index one UNIQUE ON books USING btree (title) NULLS NOT DISTINCT",
        "DROP INDEX one",
    ),
    (
        15,
        "CREATE VIEW own WITH (security_invoker) AS SELECT 1 AS one",
        "+ view own with (security_invoker=true) as SELECT 1 AS one;",
        "DROP VIEW own",
    ),
];

#[tokio::test]
async fn verify_sees_the_differences_of_newer_features() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let has_rooms = has_version(18, FEATURES);
    let migrations = if has_rooms { vec![ROOMS, BOOKS] } else { vec![BOOKS] };
    let migrator = SqlMigrator { migrations, table: "seaql_migrations" };
    let tenancy = tenancy(&db, migrator.clone()).await;
    for name in ["first", "second"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    for (since, change, line, undo) in CHANGES {
        if server().version() < since {
            continue;
        }
        run_in(&plain, "second", change).await;
        let found = differences(&plain, migrator.clone()).await;
        match line {
            "" => assert_eq!(found, [""; 0], "{change}"),
            line => assert!(found.iter().any(|it| it == line), "{change}: {found:#?}"),
        }
        run_in(&plain, "second", undo).await;
    }
}

#[tokio::test]
async fn verify_names_a_grant_of_maintain() {
    if !has_version(17, "MAINTAIN") {
        return;
    }
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = tenancy(&db, sql_migrator([BOOKS])).await;
    tenancy.create(NewTenant::new(slug("first"))).await.unwrap();
    run_in(&plain, "first", "GRANT MAINTAIN ON books TO pg_monitor").await;
    let found = differences(&plain, sql_migrator([BOOKS])).await;
    assert_eq!(found, ["+ grant table books to pg_monitor MAINTAIN"]);
}

/// Statements with new syntax on a handle: the columns before and after an update, and `MERGE`.
#[tokio::test]
async fn a_handle_sends_merge_and_returns_old_values() {
    let db = TestDb::new().await;
    let (_tenancy, [first, second]) = db.with_tenants(["first", "second"]).await;
    let insert = "INSERT INTO \"@tenant\".guards (id, name, position, inserted_at, updated_at)
                  VALUES (gen_random_uuid(), 'Abu', 'Gate', now(), now())";
    for tenant in [&first, &second] {
        tenant.execute_unprepared(insert).await.unwrap();
    }
    let values = async |sql: &str| -> Vec<String> {
        let rows = first.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        rows.unwrap().iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    };
    if has_version(15, "MERGE") {
        let merge =
            "MERGE INTO \"@tenant\".guards g USING (VALUES ('Abu', 'Roof')) v (name, position)
                     ON g.name = v.name WHEN MATCHED THEN UPDATE SET position = v.position";
        assert_eq!(first.execute_unprepared(merge).await.unwrap().rows_affected(), 1);
        let returning = format!("{merge} RETURNING merge_action() || ' ' || g.position");
        if has_version(17, "MERGE … RETURNING") {
            assert_eq!(values(&returning).await, ["UPDATE Roof"]);
        }
    }
    if has_version(18, "RETURNING WITH (OLD AS …)") {
        let update =
            "UPDATE \"@tenant\".guards SET name = 'Bea' RETURNING old.name || ' ' || new.name";
        assert_eq!(values(update).await, ["Abu Bea"]);
        let update = "UPDATE \"@tenant\".guards SET name = 'Cleo'
                      RETURNING WITH (OLD AS before) before.name || ' ' || name";
        assert_eq!(values(update).await, ["Bea Cleo"]);
    }
    let others =
        texts(&db.plain().await, "SELECT name || ' ' || position FROM second.guards").await;
    assert_eq!(others, ["Abu Gate"]);
}

/// The names of NOT NULL may differ between tenants that are older than an upgrade to 18, so they
/// must not decide whether a migration works.
#[tokio::test]
async fn drop_not_null_works_whatever_the_constraint_is_called() {
    if !has_version(18, "NOT NULL as a named constraint") {
        return;
    }
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = tenancy(&db, sql_migrator([ROOMS])).await;
    tenancy.create(NewTenant::new(slug("first"))).await.unwrap();
    run_in(&plain, "first", "ALTER TABLE guests RENAME CONSTRAINT guests_street TO odd").await;
    let loose =
        Sql { name: "m2_loose", up: "ALTER TABLE guests ALTER street DROP NOT NULL", ..ROOMS };
    let migrator = sql_migrator([ROOMS, loose]);
    tenancy.close().await;
    Tenancy::migrate_all(&Config::new(db.url(), migrator.clone())).await.unwrap();
    assert_eq!(differences(&plain, migrator).await, [""; 0]);
}
