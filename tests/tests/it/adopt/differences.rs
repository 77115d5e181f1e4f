//! A schema that differs from what the migrations create.

use sea_orm::ConnectionTrait;
use tenantry::{AdoptError, AdoptOptions, Error, NewTenant};
use tenantry_migrate::{
    Action,
    drift::{VerifyTarget, verify},
};

use super::{GUARDS, adopt, existing, migrator};
use crate::support::{TestDb, catalog::texts, slug};

/// A table of another framework, and a manual change.
const DRIFT: &str = "CREATE TABLE acme.schema_migrations (version text);
    ALTER TABLE acme.guards ADD COLUMN badge text";

#[tokio::test]
async fn differences_are_named_and_nothing_is_changed() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    plain.execute_unprepared(DRIFT).await.unwrap();
    plain.execute_unprepared("DROP TABLE acme.seaql_migrations").await.unwrap();
    let domains = vec!["guards.example.org".parse().unwrap()];
    let new = NewTenant { domains, ..NewTenant::new(slug("acme")) };
    let error = tenancy.adopt(new, &AdoptOptions::schema(schema)).await.unwrap_err();
    let Error::Adopt(AdoptError::Differences { version, changes, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!((version.as_ref(), changes.len()), (migrator().latest().as_ref(), 2), "{error}");
    for text in
        ["schema \"acme\" differs", "+ column guards.badge text", "+ table schema_migrations"]
    {
        assert!(error.to_string().contains(text), "{error}");
    }
    let rows = "SELECT slug FROM registry.tenants UNION ALL SELECT hostname FROM registry.domains
        UNION ALL SELECT relname FROM pg_class WHERE relname = 'seaql_migrations'
        AND relnamespace = 'acme'::regnamespace";
    assert_eq!(texts(&plain, rows).await, [""; 0]);
}

#[tokio::test]
async fn allowed_differences_are_returned_and_verified_later() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    plain.execute_unprepared(DRIFT).await.unwrap();
    let mut options = AdoptOptions::schema(schema);
    // An allowlist for one of them.
    options.allowed = r#"[{ "change": "extra", "object": "table", "name": "schema_migrations",
        "reason": "of Rails" }]"#
        .parse()
        .unwrap();
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err();
    let Error::Adopt(AdoptError::Differences { changes, .. }) = &error else { panic!("{error}") };
    assert_eq!(changes.len(), 1, "{error}");
    options.allow_differences = true;
    let adopted = adopt(&tenancy, "acme", &options).await.unwrap();
    assert_eq!(adopted.differences.len(), 2);
    let found = verify(&plain, &migrator(), &VerifyTarget::All).await.unwrap();
    assert_eq!((found.schemas, found.drifted), (1, 1), "{found}");
}

#[tokio::test]
async fn a_migrations_table_has_to_agree() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    let mut options = AdoptOptions::schema(schema);
    options.at = Some(GUARDS.to_owned());
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err().to_string();
    for text in ["of schema \"acme\" records m2026", "_create_shifts, which is not version", GUARDS]
    {
        assert!(error.contains(text), "{error}");
    }
    options.at = Some("m1_unknown".to_owned());
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err().to_string();
    assert_eq!(error, "migration m1_unknown not found");
    options.at = None;
    plain
        .execute_unprepared("INSERT INTO acme.seaql_migrations VALUES ('m9_newer', 1)")
        .await
        .unwrap();
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err().to_string();
    assert!(error.contains("has migrations that this program does not have: m9_newer"), "{error}");
    plain
        .execute_unprepared(
            "DROP TABLE acme.seaql_migrations; CREATE VIEW acme.seaql_migrations AS SELECT 1 AS version",
        )
        .await
        .unwrap();
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err().to_string();
    assert!(
        error.contains("\"seaql_migrations\" of schema \"acme\" is not a migrations"),
        "{error}"
    );
}
