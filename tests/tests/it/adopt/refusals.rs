//! Schemas that cannot be adopted, and objects that cannot be moved.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tenantry::{AdoptOptions, Config, Error, SchemaName, Tenancy};
use tenantry_migrate::Action;

use super::{
    adopt, existing,
    from_schema::{SHOP, single_tenant},
};
use crate::support::{
    TestDb,
    catalog::{tables, texts},
    slug,
    sql_migration::sql_migrator,
};

#[tokio::test]
async fn a_schema_that_is_no_tenant_s_to_be_is_refused() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    tenancy.drop(&slug("tenant-2")).await.unwrap();
    existing(&plain, "tenant_2", &Action::Up(None)).await;
    plain.execute_unprepared("CREATE SCHEMA bare").await.unwrap();
    for (source, message) in [
        ("tenant_1", "schema \"tenant_1\" belongs to tenant tenant-1 already"),
        ("tenant_2", "has the name of a schema of tenant tenant-2, which was dropped; rename it"),
        ("nowhere", "schema \"nowhere\" does not exist in this database"),
        ("bare", "schema \"bare\" has no tables, so there is nothing to adopt"),
    ] {
        let schema: SchemaName = source.parse().unwrap();
        for options in [AdoptOptions::schema(schema), AdoptOptions::objects_of(source)] {
            let error = adopt(&tenancy, "acme", &options).await.unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
    for (source, message) in [
        ("registry", "schema \"registry\" belongs to the registry"),
        ("pg_catalog", "schema \"pg_catalog\" belongs to PostgreSQL"),
        ("information_schema", "schema \"information_schema\" belongs to PostgreSQL"),
        ("public", "schema \"public\" has no tables"),
    ] {
        let options = AdoptOptions::objects_of(source);
        let error = adopt(&tenancy, "acme", &options).await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(source.parse::<SchemaName>().is_err());
    }
    let old = existing(&plain, "old", &Action::Up(None)).await;
    let error = adopt(&tenancy, "tenant-1", &AdoptOptions::schema(old)).await.unwrap_err();
    assert!(matches!(error, Error::SlugTaken(_)), "{error}");
}

#[tokio::test]
async fn a_schema_that_is_being_created_is_refused() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    // As a creation with commits marks and locks it.
    plain
        .execute_unprepared(
            "DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA acme IS %L',
                 'tenantry: unfinished creation of schema ' || 'acme'::regnamespace::oid); END $$",
        )
        .await
        .unwrap();
    let txn = plain.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('tenantry creation of acme', 0))";
    txn.execute_unprepared(lock).await.unwrap();
    let error = adopt(&tenancy, "acme", &AdoptOptions::schema(schema)).await.unwrap_err();
    assert!(error.to_string().contains("\"acme\" is being created for a tenant"), "{error}");
    txn.rollback().await.unwrap();
}

#[tokio::test]
async fn a_role_has_to_own_what_it_adopts() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let role = format!("adopter_{}", db.name());
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    let sql = format!(
        "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {} TO {role};
         GRANT USAGE ON SCHEMA registry TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA registry TO {role};
         GRANT ALL ON SCHEMA acme TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA acme TO {role}",
        db.name()
    );
    plain.execute_unprepared(&sql).await.unwrap();
    // So that the registry has the application's name.
    db.tenancy().await.close().await;
    let url = db.url().replacen("postgres://postgres", &format!("postgres://{role}"), 1);
    let tenancy = Tenancy::connect(&Config::new(url, migration::Migrator)).await.unwrap();
    for options in [AdoptOptions::schema(schema), AdoptOptions::objects_of("acme")] {
        let error = adopt(&tenancy, "acme", &options).await.unwrap_err().to_string();
        for text in [
            &format!("role {role} does not own all of schema \"acme\": "),
            "schema acme of postgres, table acme.guards of postgres",
            "connect as the owner, or grant the owner's role",
        ] {
            assert!(error.contains(text), "{error}");
        }
    }
    let sql = format!(
        "ALTER SCHEMA acme OWNER TO {role}; ALTER TABLE acme.guards OWNER TO {role};
         ALTER TABLE acme.shifts OWNER TO {role}; ALTER TABLE acme.seaql_migrations OWNER TO {role}"
    );
    plain.execute_unprepared(&sql).await.unwrap();
    adopt(&tenancy, "globex", &AdoptOptions::objects_of("acme")).await.unwrap();
    tenancy.close().await;
}

/// Adds something to the application in `public`, and returns the error of its adoption.
async fn refusal(db: &DatabaseConnection, tenancy: &Tenancy, with: &str, without: &str) -> String {
    db.execute_unprepared(with).await.unwrap();
    let before = tables(db).await;
    let error = adopt(tenancy, "acme", &AdoptOptions::objects_of("public")).await.unwrap_err();
    assert_eq!(tables(db).await, before, "{error}");
    assert_eq!(texts(db, "SELECT slug FROM registry.tenants").await, [""; 0], "{error}");
    db.execute_unprepared(without).await.unwrap();
    error.to_string()
}

#[tokio::test]
async fn objects_that_would_not_work_elsewhere_are_named() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let shop = sql_migrator([SHOP]);
    single_tenant(&plain, &shop).await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), shop)).await.unwrap();
    let function =
        "CREATE FUNCTION n() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.items'";
    let dynamic = "CREATE FUNCTION n() RETURNS void LANGUAGE plpgsql AS
        $$BEGIN EXECUTE 'DELETE FROM public.lines'; END$$";
    let path = "CREATE FUNCTION n() RETURNS void LANGUAGE plpgsql AS
        $$BEGIN SET LOCAL search_path = public; END$$";
    for (with, without, messages) in [
        (
            function,
            "DROP FUNCTION n",
            ["function n(): its text names schema \"public\"", "without the schema"],
        ),
        (dynamic, "DROP FUNCTION n", ["function n(): its text names", ""]),
        (path, "DROP FUNCTION n", ["function n(): its text names", ""]),
        (
            "ALTER TABLE lines ADD COLUMN n int DEFAULT nextval('public.numbers'::text::regclass)",
            "ALTER TABLE lines DROP COLUMN n",
            ["column lines.n: its text names schema \"public\"", ""],
        ),
        (
            "CREATE SCHEMA audit; CREATE FUNCTION audit.n() RETURNS bigint LANGUAGE sql
                AS 'SELECT count(*) FROM public.items'",
            "DROP SCHEMA audit CASCADE",
            ["function audit.n(): its source names schema \"public\"", "change or drop it"],
        ),
        (
            "CREATE SCHEMA cold; CREATE TABLE cold.visits_2025 PARTITION OF visits
                FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
            "DROP SCHEMA cold CASCADE",
            ["table cold.visits_2025: it is a partition or child of public.visits", "one schema"],
        ),
        (
            "CREATE TABLE notes (id int)",
            "DROP TABLE notes",
            ["schema \"public\" differs", "+ table notes"],
        ),
        (
            "ALTER TABLE items DROP COLUMN part",
            "ALTER TABLE items ADD COLUMN part pair",
            ["schema \"public\" differs", "- column items.part pair"],
        ),
    ] {
        let error = refusal(&plain, &tenancy, with, without).await;
        assert!(messages.iter().all(|message| error.contains(message)), "{with}: {error}");
    }
    if texts(&plain, "SELECT 'x' WHERE current_setting('server_version_num')::int >= 150000")
        .await
        .len()
        == 1
    {
        let publish = "CREATE PUBLICATION everything FOR TABLES IN SCHEMA public";
        let error = refusal(&plain, &tenancy, publish, "DROP PUBLICATION everything").await;
        assert!(error.contains("in publication everything: the publication would lose"), "{error}");
    }
    // Harmless: other words, and names of what stays.
    let harmless = "CREATE EXTENSION citext; CREATE SCHEMA other;
        CREATE FUNCTION other.f() RETURNS text LANGUAGE sql AS 'SELECT ''public''::public.citext'";
    plain.execute_unprepared(harmless).await.unwrap();
    let mut options = AdoptOptions::objects_of("public");
    // The column was added again at another place.
    options.allow_differences = true;
    let adopted = adopt(&tenancy, "acme", &options).await.unwrap();
    assert_eq!(adopted.differences.len(), 1, "{:?}", adopted.differences);
}

#[tokio::test]
async fn a_schema_in_use_is_waited_for_and_not_changed() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    let txn = plain.begin().await.unwrap();
    txn.execute_unprepared("LOCK TABLE acme.seaql_migrations, acme.guards").await.unwrap();
    for mut options in [AdoptOptions::schema(schema.clone()), AdoptOptions::objects_of("acme")] {
        options.lock_timeout = Duration::from_millis(500);
        let error = adopt(&tenancy, "acme", &options).await.unwrap_err();
        let Error::AdoptBlocked { holders, .. } = &error else { panic!("{error}") };
        assert_eq!(holders.len(), 1, "{error}");
        assert!(error.to_string().contains("its tables are in use by process"), "{error}");
    }
    txn.rollback().await.unwrap();
    // A migration run on the schema.
    let txn = plain.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('tenantry migration of acme', 0))";
    txn.execute_unprepared(lock).await.unwrap();
    let mut options = AdoptOptions::schema(schema);
    options.lock_timeout = Duration::from_millis(200);
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err();
    assert!(error.to_string().contains("another program is migrating schema \"acme\""), "{error}");
    txn.rollback().await.unwrap();
    adopt(&tenancy, "acme", &options).await.unwrap();
}
