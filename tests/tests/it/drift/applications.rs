//! Other applications' migrators, and migrations that run meanwhile.

use super::*;

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

impl tenantry_migrate::TenantMigrator for SelfNaming {}

#[tokio::test]
async fn verifies_schemas_with_embedded_names() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), SelfNaming)).await.unwrap();
    for name in ["city", "village", "books"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let plain = db.plain().await;
    let migrator = DynMigrator::new(SelfNaming);
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert_eq!((found.schemas, found.is_clean()), (3, true), "{found}");

    // One that looks into another's schema.
    plant(&plain, "city", "ALTER FUNCTION titles() SET search_path = village").await;
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert_eq!(said(&found).keys().collect::<Vec<_>>(), ["city"], "{found}");
    assert!(said(&found)["city"][0].contains("village"), "{found}");

    // The tables of this program's own tenants are none of the library's business.
    let error =
        verify(&plain, &migrator, &VerifyTarget::Tenants(vec![slug("nobody")])).await.unwrap_err();
    assert!(matches!(error, VerifyError::UnknownTenant(_)), "{error}");
    let missing = VerifyTarget::Schema("missing".parse().unwrap());
    let error = verify(&plain, &migrator, &missing).await.unwrap_err();
    assert!(matches!(error, VerifyError::Migration(Error::MissingSchema { .. })), "{error}");
}

/// A table, and an index that is built concurrently.
fn indexed() -> SqlMigrator {
    let sql = |name, up, alone| Sql { name, up, down: "", alone, breaking: false };
    let index = "CREATE INDEX CONCURRENTLY books_title_idx ON books (title)";
    let migrations = vec![
        sql("m1_books", "CREATE TABLE books (title text)", false),
        sql("m2_index", index, true),
        sql("m3_price", "ALTER TABLE books ADD price int", false),
    ];
    SqlMigrator { migrations, table: "seaql_migrations" }
}

#[tokio::test]
async fn verifies_non_transactional_migrations() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let migrator = DynMigrator::new(indexed());
    let city: tenantry_registry::SchemaName = "city".parse().unwrap();
    texts(&plain, "CREATE SCHEMA city").await;
    let target = Target::Schema(city.clone());
    run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    let scope = VerifyTarget::Schema(city);
    assert!(verify(&plain, &migrator, &scope).await.unwrap().is_clean());
    texts(&plain, "DROP INDEX city.books_title_idx").await;
    let found = verify(&plain, &migrator, &scope).await.unwrap();
    assert_eq!(said(&found)["city"], ["- index books_title_idx ON books USING btree (title)"]);
    // A migration that was merged late is not applied yet, which is not drift.
    texts(&plain, "DELETE FROM city.seaql_migrations WHERE version = 'm2_index'").await;
    assert!(verify(&plain, &migrator, &scope).await.unwrap().is_clean());
}

#[tokio::test]
async fn works_on_one_connection_during_a_migration() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    for number in 0..40 {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
    }
    let mut options = sea_orm::ConnectOptions::new(db.url());
    options.max_connections(1).sqlx_logging(false);
    let single = tenantry_migrate::connect::open(options).await.unwrap();
    let other = db.plain().await;
    let moving = tokio::spawn(async move {
        let migrator = DynMigrator::new(migration::Migrator);
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

#[tokio::test]
async fn names_a_migration_that_depends_on_other_schemas() {
    let db = TestDb::new().await;
    let color = "DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM information_schema.columns
            WHERE table_name = 'books' AND column_name = 'color') THEN
            ALTER TABLE books ADD color text;
        END IF; END $$";
    let migrator = sql_migrator([BOOKS, Sql { name: "m2_color", up: color, ..SHELF }]);
    let tenancy = Tenancy::connect(&Config::new(db.url(), migrator.clone())).await.unwrap();
    for name in ["city", "village", "hamlet"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let plain = db.plain().await;
    let migrator = DynMigrator::new(migrator);
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    let text = found.to_string();
    assert!(text.contains("differ from a new schema: city"), "{text}");
    assert!(text.contains("m2_color") && !text.contains("drifted: city"), "{text}");
    assert!(text.contains("+ column books.color text"), "{text}");
}
