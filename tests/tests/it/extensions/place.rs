//! Installation of extensions, and errors for extensions in other schemas.

use sea_orm::ConnectionTrait;
use tenantry::Tenancy;
use tenantry_migrate::{
    Action, Error, Extension, ExtensionError, Target, TenantSelection, Timeouts,
    confirm_extensions,
    drift::{VerifyError, VerifyTarget, verify},
    extension_sql, make_extensions, run,
};

use super::Uses;
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
};

fn citext() -> Extension {
    Extension::new("citext")
}

const INSTALLED: &str = "SELECT extname || ' in ' || extnamespace::regnamespace FROM pg_extension
    WHERE extname <> 'plpgsql' ORDER BY 1";

#[tokio::test]
async fn declared_extensions_are_installed_once_in_their_schemas() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let uses = Uses::new([
        citext(),
        Extension::new("hstore").in_schema("more"),
        Extension::new("uuid-ossp"),
    ]);
    let announced = extension_sql(&plain, &uses.migrator()).await.unwrap();
    assert_eq!(
        announced,
        [
            r#"CREATE SCHEMA IF NOT EXISTS "extensions""#,
            r#"CREATE EXTENSION IF NOT EXISTS "citext" SCHEMA "extensions""#,
            r#"CREATE SCHEMA IF NOT EXISTS "more""#,
            r#"CREATE EXTENSION IF NOT EXISTS "hstore" SCHEMA "more""#,
            r#"CREATE EXTENSION IF NOT EXISTS "uuid-ossp" SCHEMA "extensions""#,
        ]
    );
    assert_eq!(texts(&plain, INSTALLED).await, [""; 0]);
    // Two programs at once.
    let other = db.plain().await;
    let migrator = uses.migrator();
    let (one, two) =
        tokio::join!(make_extensions(&plain, &migrator), make_extensions(&other, &migrator));
    one.unwrap();
    two.unwrap();
    let all = ["citext in extensions", "hstore in more", "uuid-ossp in extensions"];
    assert_eq!(texts(&plain, INSTALLED).await, all);
    assert_eq!(extension_sql(&plain, &uses.migrator()).await.unwrap(), [""; 0]);
    Tenancy::connect(&uses.config(&db)).await.unwrap();
}

/// Asserts that everything that needs the extension fails with these words.
async fn refused(db: &TestDb, uses: &Uses, words: &[&str]) {
    let plain = db.plain().await;
    let migrator = uses.migrator();
    plain.execute_unprepared("CREATE SCHEMA IF NOT EXISTS bare").await.unwrap();
    let bare = Target::Schema("bare".parse().unwrap());
    let errors = [
        confirm_extensions(&plain, &migrator).await.unwrap_err().to_string(),
        Tenancy::connect(&uses.config(db)).await.unwrap_err().to_string(),
        run(&plain, &bare, &migrator, &Action::Up(None), Timeouts::default())
            .await
            .unwrap_err()
            .to_string(),
        tenantry_migrate::dry_run(&plain, &bare, &migrator, &Action::Up(None))
            .await
            .unwrap_err()
            .to_string(),
        tenantry_migrate::lint::check(&plain, &migrator, tenantry_migrate::lint::Profile::Citus)
            .await
            .unwrap_err()
            .to_string(),
        fleet(&plain, &migrator).await.unwrap_err().to_string(),
    ];
    for error in errors {
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
    }
    assert_eq!(
        texts(
            &plain,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'bare'::regnamespace"
        )
        .await,
        [""; 0]
    );
    plain.execute_unprepared("DROP SCHEMA bare").await.unwrap();
    plain.close().await.unwrap();
}

async fn fleet(
    db: &sea_orm::DatabaseConnection,
    migrator: &tenantry_migrate::DynMigrator,
) -> Result<tenantry_migrate::Summary, Error> {
    let fleet = tenantry_migrate::FleetOptions {
        max_attempts: 1,
        outage_timeout: std::time::Duration::ZERO,
        ..tenantry_migrate::FleetOptions::default()
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    tenantry_migrate::run_fleet(
        db,
        migrator,
        &TenantSelection::All,
        &Action::Up(None),
        &fleet,
        &stop,
        |_| {},
    )
    .await
}

#[tokio::test]
async fn an_extension_that_is_not_installed_is_an_error_with_the_remedy() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let uses = Uses::new([citext()]);
    let sql = r#"CREATE SCHEMA IF NOT EXISTS "extensions"; CREATE EXTENSION IF NOT EXISTS "citext" SCHEMA "extensions""#;
    refused(&db, &uses, &["\"citext\" is not installed", sql]).await;
    let error = verify(&plain, &uses.migrator(), &VerifyTarget::All).await.unwrap_err();
    assert!(matches!(error, VerifyError::Migration(Error::Extension(_))), "{error}");
    // The statements in the message work.
    plain.execute_unprepared(sql).await.unwrap();
    confirm_extensions(&plain, &uses.migrator()).await.unwrap();
}

#[tokio::test]
async fn an_extension_in_another_schema_is_an_error_with_both_remedies() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    plain.execute_unprepared("CREATE EXTENSION citext SCHEMA public").await.unwrap();
    let uses = Uses::new([citext()]);
    let words = ["installed in schema \"public\"", "in_schema(\"public\")", "ALTER EXTENSION"];
    refused(&db, &uses, &words).await;
    let error = uses.make(&db).await.unwrap_err();
    assert!(matches!(error, Error::Extension(ExtensionError::Elsewhere { .. })), "{error}");
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    let there = Uses::new([citext().in_schema("public")]);
    confirm_extensions(&plain, &there.migrator()).await.unwrap();
    let text = error.to_string();
    let sql = text.split_once("run: ").unwrap().1;
    plain.execute_unprepared(sql).await.unwrap();
    confirm_extensions(&plain, &uses.migrator()).await.unwrap();
}

#[tokio::test]
async fn schema_of_extensions_must_not_contain_other_tables() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for (schema, make) in [
        ("extensions", "CREATE TABLE extensions.t ()"),
        ("public", "CREATE VIEW public.t AS SELECT 1 AS one"),
        ("other", "CREATE SEQUENCE other.t"),
        ("other", "CREATE MATERIALIZED VIEW other.t AS SELECT 1 AS one"),
        ("other", "CREATE TABLE other.t (id int) PARTITION BY LIST (id)"),
    ] {
        plain
            .execute_unprepared(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; {make}"))
            .await
            .unwrap();
        let uses = Uses::new([citext().in_schema(schema)]);
        // Nothing is installed in a schema with tables.
        let error = uses.make(&db).await.unwrap_err();
        let Error::Extension(ExtensionError::HoldsTables { tables, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!(tables, &["t"]);
        assert_eq!(texts(&plain, INSTALLED).await, [""; 0]);
        let install = format!("CREATE EXTENSION citext SCHEMA {schema}");
        plain.execute_unprepared(&install).await.unwrap();
        refused(&db, &uses, &[&format!("schema \"{schema}\""), "contains t", "SET SCHEMA"]).await;
        let kind =
            make.split_whitespace().nth(1).unwrap().replace("MATERIALIZED", "MATERIALIZED VIEW");
        plain.execute_unprepared(&format!("DROP {kind} {schema}.t")).await.unwrap();
        confirm_extensions(&plain, &uses.migrator()).await.unwrap();
        plain.execute_unprepared("DROP EXTENSION citext").await.unwrap();
    }
    // A view of the extension's own.
    let uses = Uses::new([Extension::new("pg_buffercache")]);
    uses.make(&db).await.unwrap();
    let view = "SELECT relname::text FROM pg_class WHERE relnamespace = 'extensions'::regnamespace AND relkind = 'v'";
    assert!(texts(&plain, view).await.contains(&"pg_buffercache".to_owned()));
    Tenancy::connect(&uses.config(&db)).await.unwrap();
}

#[tokio::test]
async fn verify_finds_a_table_in_extension_schemas() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let uses = Uses::new([citext()]);
    uses.make(&db).await.unwrap();
    plain.execute_unprepared("CREATE TABLE extensions.stray ()").await.unwrap();
    let found = verify(&plain, &uses.migrator(), &VerifyTarget::All).await.unwrap().to_string();
    assert!(found.contains("extensions, a schema of extensions: stray"), "{found}");
}

#[tokio::test]
async fn error_for_role_without_privileges_has_the_statement_for_an_administrator() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let role = format!("poor_{}", db.name());
    plain.execute_unprepared(&format!("CREATE ROLE {role} LOGIN;
        GRANT USAGE ON SCHEMA registry TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA registry TO {role}")).await.unwrap();
    let poor = crate::support::database::connect(&db.url().replacen(
        "postgres://postgres",
        &format!("postgres://{role}"),
        1,
    ))
    .await;
    let uses = Uses::new([citext()]);
    let error = make_extensions(&poor, &uses.migrator()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("42501"), "{text}");
    let sql = text.split_once("run: ").unwrap().1;
    plain.execute_unprepared(sql).await.unwrap();
    // Installed, but not in search_path.
    let text = confirm_extensions(&poor, &uses.migrator()).await.unwrap_err().to_string();
    let sql = text.split_once("run: ").unwrap().1;
    assert!(sql.starts_with("GRANT USAGE"), "{text}");
    plain.execute_unprepared(sql).await.unwrap();
    confirm_extensions(&poor, &uses.migrator()).await.unwrap();
    make_extensions(&poor, &uses.migrator()).await.unwrap();
    poor.close().await.unwrap();
    plain.execute_unprepared(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn an_extension_that_the_server_does_not_have_is_named() {
    let db = TestDb::new().await;
    let error = Uses::new([Extension::new("none_such")]).make(&db).await.unwrap_err().to_string();
    assert!(error.contains("\"none_such\"") && error.contains("Install its package"), "{error}");
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}

#[tokio::test]
async fn invalid_extension_names_are_refused() {
    let db = TestDb::new().await;
    for (name, schema) in [
        ("citext\"; DROP SCHEMA registry CASCADE; --", "extensions"),
        ("", "extensions"),
        ("citext", "a\", registry, \"b"),
        ("citext", "pg_catalog"),
        ("citext", "registry"),
        ("citext", ""),
    ] {
        let uses = Uses::new([Extension::new(name).in_schema(schema)]);
        refused(&db, &uses, &["extensions() declares"]).await;
        uses.make(&db).await.unwrap_err();
    }
    assert_eq!(schemas(&db.plain().await).await, ["public", "registry"]);
}
