//! A schema that cannot be compared does not keep the others from it.

use super::*;
use crate::support::database::connect;

/// Fails without books, as in a scratch schema.
const SHARE: Sql = Sql {
    name: "m2_share",
    up: "CREATE TABLE shares AS SELECT 100 / count(*) AS share FROM books",
    ..SHELF
};

#[tokio::test]
async fn reports_tenants_whose_migration_fails_on_an_empty_schema() {
    let db = TestDb::new().await;
    let old = Tenancy::connect(&Config::new(db.url(), sql_migrator([BOOKS]))).await.unwrap();
    for name in ["city", "hamlet", "village"] {
        old.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let plain = db.plain().await;
    let migrator = DynMigrator::tenant(sql_migrator([BOOKS, SHARE]));
    for schema in ["city", "hamlet"] {
        plant(&plain, schema, "INSERT INTO books (isbn) VALUES ('1')").await;
        let target = Target::Schema(schema.parse().unwrap());
        run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    }
    plant(&plain, "village", "ALTER TABLE books DROP COLUMN title").await;
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert_eq!(said(&found).keys().collect::<Vec<_>>(), ["village"], "{found}");
    let text = found.to_string();
    assert!(
        text.contains(
            "2 tenants at m2_share not compared: city, hamlet\n  m2_share: division by zero"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "3 schemas checked: 0 match, 1 drifted (1 kind of difference), 2 not compared"
        ),
        "{text}"
    );
    let Finding::NotCompared { tenants, version, migration, reason } = &found.findings[1] else {
        panic!("{found}")
    };
    assert_eq!((tenants.len(), version.as_deref()), (2, Some("m2_share")));
    assert_eq!((migration.as_deref(), reason.as_str()), (Some("m2_share"), "division by zero"));
    let one =
        verify(&plain, &migrator, &VerifyTarget::Schema("city".parse().unwrap())).await.unwrap();
    assert!(matches!(&one.findings[..], [Finding::NotCompared { .. }]), "{one}");
    // Nothing is left of the attempt.
    assert_eq!(schemas(&plain).await, ["city", "hamlet", "public", "registry", "village"]);
}

struct Panics;

impl MigrationName for Panics {
    fn name(&self) -> &str {
        "m2_panics"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Panics {
    async fn up(&self, _: &SchemaManager) -> Result<(), DbErr> {
        panic!("no books")
    }
}

#[derive(Clone)]
struct Panicking;

impl MigratorTraitSelf for Panicking {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(BOOKS), Box::new(Panics)]
    }
}

impl tenantry_migrate::TenantMigrator for Panicking {}

#[tokio::test]
async fn reports_tenants_whose_migration_panics_or_commits() {
    let db = TestDb::new().await;
    let old = Tenancy::connect(&Config::new(db.url(), sql_migrator([BOOKS]))).await.unwrap();
    for name in ["city", "village"] {
        old.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let plain = db.plain().await;
    texts(&plain, "INSERT INTO city.seaql_migrations VALUES ('m2_panics', 0), ('m2_commits', 0)")
        .await;
    let commits = Sql { name: "m2_commits", up: "COMMIT", ..SHELF };
    for (migrator, reason) in [
        (DynMigrator::tenant(Panicking), "m2_panics: panicked: no books"),
        (DynMigrator::tenant(sql_migrator([BOOKS, commits])), "m2_commits: contains COMMIT"),
    ] {
        let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
        let text = found.to_string();
        assert!(text.contains("not compared: city\n") && text.contains(reason), "{text}");
        assert_eq!(found.drifted, 0, "{text}");
        assert_eq!(schemas(&plain).await, ["city", "public", "registry", "village"]);
    }
}

#[tokio::test]
async fn reports_a_schema_that_the_role_may_not_read() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1", "tenant-2"]).await;
    let plain = db.plain().await;
    let role = format!("reader_{}", db.name());
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {} TO {role};
         GRANT USAGE ON SCHEMA registry, tenant_1, tenant_2 TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA registry, tenant_2 TO {role}",
        db.name()
    );
    plain.execute_unprepared(&grants).await.unwrap();
    let url = db.url().replacen("postgres://postgres", &format!("postgres://{role}"), 1);
    let reader = connect(&url).await;
    let found = all(&reader).await;
    let unjudged: Vec<_> = found
        .findings
        .iter()
        .filter_map(|it| match it {
            Finding::NotCompared { tenants, reason, .. } => Some((tenants, reason)),
            _ => None,
        })
        .collect();
    let [(tenants, reason)] = unjudged[..] else { panic!("{found}") };
    assert_eq!(tenants[0].to_string(), "tenant-1", "{found}");
    assert!(reason.contains("permission denied") && reason.contains("42501"), "{found}");
    assert_eq!(found.schemas, 2);
    reader.close().await.unwrap();
    plain.execute_unprepared(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
