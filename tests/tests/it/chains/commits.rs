//! Chains that PostgreSQL refuses in one transaction, and deferred constraints.

use std::sync::Mutex;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Event, FleetOptions, MigrationOutcome, Target, TenantSelection, Timeouts,
    lint::{Profile, check},
    run, run_fleet,
};

use super::{
    Chain, Migrations, first, sql,
    ways::{fails_everywhere, works_everywhere},
};
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    slug,
};

/// A new value of an enum and its first uses. PostgreSQL 17 and newer want no commit if the enum was
/// created in the same transaction.
fn moods() -> Migrations {
    vec![
        first(),
        sql("m2_mood", "CREATE TYPE mood AS ENUM ('sad')", "DROP TYPE mood"),
        sql("m3_happy", "ALTER TYPE mood ADD  VALUE 'happy'", "SELECT 1"),
        sql(
            "m4_default",
            "ALTER TABLE books ADD COLUMN mood mood NOT NULL DEFAULT 'happy'",
            "ALTER TABLE books DROP COLUMN mood",
        ),
        sql("m5_row", "INSERT INTO books VALUES ('1', 'one')", "DELETE FROM books"),
    ]
}

/// Rows with a deferred foreign key, then an ALTER of their table.
fn late() -> Migrations {
    vec![
        first(),
        sql(
            "m2_loans",
            "CREATE TABLE loans (id int CONSTRAINT loans_pkey PRIMARY KEY, isbn text
                 CONSTRAINT loans_isbn_fkey REFERENCES books DEFERRABLE INITIALLY DEFERRED)",
            "DROP TABLE loans",
        ),
        sql(
            "m3_rows",
            "INSERT INTO loans VALUES (1, 'a'); INSERT INTO books VALUES ('a', 'one')",
            "DELETE FROM loans; DELETE FROM books",
        ),
        sql(
            "m4_alter",
            "ALTER TABLE loans ADD COLUMN due date",
            "ALTER TABLE loans DROP COLUMN due",
        ),
        // The constraint is still deferred, and so is a new one.
        sql(
            "m5_more",
            "CREATE TABLE returns (id int CONSTRAINT returns_pkey PRIMARY KEY, loan int
                 CONSTRAINT returns_loan_fkey REFERENCES loans DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO returns VALUES (1, 2);
             INSERT INTO loans VALUES (2, 'b'); INSERT INTO books VALUES ('b', 'two')",
            "DROP TABLE returns; DELETE FROM loans WHERE id = 2; DELETE FROM books WHERE isbn = 'b'",
        ),
        sql("m6_alter", "ALTER TABLE returns ADD COLUMN at date", "SELECT 1"),
    ]
}

/// The same with another constraint of the same name: every version wants commits.
fn ambiguous() -> Migrations {
    vec![
        first(),
        sql(
            "m2_loans",
            "CREATE TABLE loans (id int PRIMARY KEY, isbn text
                 CONSTRAINT isbn_fkey REFERENCES books DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE copies (id int PRIMARY KEY, isbn text
                 CONSTRAINT isbn_fkey REFERENCES books)",
            "DROP TABLE copies; DROP TABLE loans",
        ),
        sql(
            "m3_rows",
            "INSERT INTO loans VALUES (1, 'a'); INSERT INTO books VALUES ('a', 'one')",
            "DELETE FROM loans; DELETE FROM books",
        ),
        sql("m4_alter", "ALTER TABLE loans ADD COLUMN due date", "SELECT 1"),
        sql(
            "m5_row",
            "INSERT INTO books VALUES ('1', 'one')",
            "DELETE FROM books WHERE isbn = '1'",
        ),
    ]
}

/// A row that a constraint refuses at the end of its migration.
fn wrong() -> Migrations {
    let mut migrations = late();
    migrations.truncate(2);
    migrations.push(sql("m3_wrong", "INSERT INTO loans VALUES (1, 'a')", "SELECT 1"));
    migrations.push(sql("m4_after", "INSERT INTO books VALUES ('a', 'one')", "SELECT 1"));
    migrations
}

#[tokio::test]
async fn a_new_enum_value_and_its_use_do_the_same_everywhere() {
    works_everywhere(Chain::new(moods), "SELECT mood::text FROM books", &["happy"]).await;
}

#[tokio::test]
async fn rows_with_deferred_constraints_do_the_same_everywhere() {
    let probe = "SELECT isbn FROM loans ORDER BY id";
    works_everywhere(Chain::new(late), probe, &["a", "b"]).await;
}

#[tokio::test]
async fn constraints_of_the_same_name_do_the_same_everywhere() {
    works_everywhere(Chain::new(ambiguous), "SELECT isbn FROM loans", &["a"]).await;
}

#[tokio::test]
async fn violation_of_deferred_constraint_fails_the_migration_that_caused_it() {
    let words = ["loans_isbn_fkey"];
    fails_everywhere(Chain::new(wrong), &words).await;
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let error = up(&plain, wrong).await.unwrap_err();
    assert!(error.contains("m3_wrong"), "{error}");
}

fn city() -> Target {
    Target::Schema("city".parse().unwrap())
}

async fn up(
    db: &DatabaseConnection,
    migrations: fn() -> Migrations,
) -> Result<MigrationOutcome, String> {
    texts(db, "CREATE SCHEMA IF NOT EXISTS city").await;
    let migrator = DynMigrator::tenant(Chain::new(migrations));
    let up = run(db, &city(), &migrator, &Action::Up(None), Timeouts::default()).await;
    up.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_run_says_whether_each_migration_was_committed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let outcome = up(&plain, ambiguous).await.unwrap();
    assert!(outcome.committed_each);
    assert_eq!(outcome.applied.len(), 5);
    // Committed separately, so the first ones stay if a later one fails.
    let to = Action::To("m1_books".to_owned());
    let migrator = DynMigrator::tenant(Chain::new(ambiguous));
    run(&plain, &city(), &migrator, &to, Timeouts::default()).await.unwrap();
    texts(&plain, "INSERT INTO city.books VALUES ('1', 'in the way')").await;
    let error = up(&plain, ambiguous).await.unwrap_err();
    assert!(error.contains("m5_row"), "{error}");
    let left = "SELECT version FROM city.seaql_migrations ORDER BY version";
    assert_eq!(texts(&plain, left).await, ["m1_books", "m2_loans", "m3_rows", "m4_alter"]);
    let fresh =
        run(&plain, &city(), &migrator, &Action::Fresh { cascade: false }, Timeouts::default())
            .await;
    assert!(fresh.unwrap().committed_each);
}

#[tokio::test]
async fn deferred_constraints_need_no_commit_between_migrations() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    assert!(!up(&plain, late).await.unwrap().committed_each);
    let migrator = DynMigrator::tenant(Chain::new(late));
    let fresh =
        run(&plain, &city(), &migrator, &Action::Fresh { cascade: false }, Timeouts::default())
            .await;
    assert!(!fresh.unwrap().committed_each);
}

/// Fails within one migration, so a commit between migrations does not help.
fn hopeless() -> Migrations {
    vec![
        first(),
        sql(
            "m2_loans",
            "CREATE TABLE loans (isbn text CONSTRAINT loans_isbn_fkey REFERENCES books
                 DEFERRABLE INITIALLY DEFERRED)",
            "DROP TABLE loans",
        ),
        sql(
            "m3_both",
            "INSERT INTO loans VALUES ('a'); INSERT INTO books VALUES ('a', 'one');
             ALTER TABLE loans ADD COLUMN due date",
            "SELECT 1",
        ),
    ]
}

#[tokio::test]
async fn migration_that_fails_even_with_commits_leaves_no_schema() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain::new(hopeless))).await.unwrap();
    for _ in 0..2 {
        let error = tenancy.create(NewTenant::new(slug("city"))).await.unwrap_err().to_string();
        assert!(error.contains("m3_both") && error.contains("55006"), "{error}");
        assert_eq!(schemas(&plain).await, ["public", "registry"]);
    }
    let migrator = DynMigrator::tenant(Chain::new(hopeless));
    let report = check(&plain, &migrator, Profile::Citus).await.unwrap();
    let fails = |it: &tenantry_migrate::lint::Finding| {
        it.rule == tenantry_migrate::lint::Rule::MigrationFails
    };
    assert!(report.findings.iter().any(|it| fails(it) && it.migration == "m3_both"));
    tenantry_migrate::drift::embeds_schema_name(&plain, &migrator).await.unwrap_err();
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    assert!(up(&plain, hopeless).await.unwrap_err().contains("m3_both"));
}

#[tokio::test]
async fn a_fleet_says_which_tenants_were_migrated_with_commits() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let before = Chain { limit: 2, ..Chain::new(moods) };
    let tenancy = Tenancy::connect(&Config::new(db.url(), before)).await.unwrap();
    for name in ["city", "town"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let fleet = FleetOptions { jobs: 2, ..FleetOptions::default() };
    let each = Mutex::new(Vec::new());
    let report = |event: &Event<'_>| {
        if let Event::Done { outcome, .. } = event {
            each.lock().unwrap().push(outcome.committed_each);
        }
    };
    let migrator = DynMigrator::tenant(Chain::new(moods));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let who = TenantSelection::All;
    let action = Action::Up(None);
    let summary = run_fleet(&plain, &migrator, &who, &action, &fleet, &stop, report).await;
    assert_eq!((summary.unwrap().done, each.into_inner().unwrap()), (2, vec![true, true]));
    let versions = "SELECT DISTINCT schema_version FROM registry.tenants";
    assert_eq!(texts(&plain, versions).await, ["m5_row"]);
}

#[tokio::test]
async fn an_interrupted_creation_is_cleared_by_the_next_one() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain::new(ambiguous))).await.unwrap();
    // The creation ends while a migration waits: the row of the registry is not there yet.
    plain
        .execute_unprepared(
            "CREATE FUNCTION public.wait() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF tg_tag = 'ALTER TABLE' AND current_schema() = 'city' THEN PERFORM pg_sleep(60); END IF; END $$;
             CREATE EVENT TRIGGER wait ON ddl_command_start EXECUTE FUNCTION public.wait()",
        )
        .await
        .unwrap();
    texts(&plain, "ALTER EVENT TRIGGER wait DISABLE").await;
    // It learns that commits are needed.
    tenancy.create(NewTenant::new(slug("town"))).await.unwrap();
    texts(&plain, "ALTER EVENT TRIGGER wait ENABLE").await;
    let creating = {
        let tenancy = tenancy.clone();
        tokio::spawn(async move { tenancy.create(NewTenant::new(slug("city"))).await })
    };
    let sleeps = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'
                  AND datname = current_database()";
    crate::support::http_server::eventually("it sleeps", async || {
        texts(&plain, sleeps).await == ["1"]
    })
    .await;
    assert!(schemas(&plain).await.contains(&"city".to_owned()));
    // A schema that is being created is not an orphan.
    let migrator = DynMigrator::tenant(Chain::new(ambiguous));
    let found = tenantry_migrate::drift::verify(
        &plain,
        &migrator,
        &tenantry_migrate::drift::VerifyTarget::All,
    )
    .await;
    assert!(!found.unwrap().to_string().contains("city"));
    creating.abort();
    let _ = creating.await;
    let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
               WHERE wait_event = 'PgSleep' AND datname = current_database()";
    texts(&plain, end).await;
    texts(&plain, "ALTER EVENT TRIGGER wait DISABLE").await;
    let found = tenantry_migrate::drift::verify(
        &plain,
        &migrator,
        &tenantry_migrate::drift::VerifyTarget::All,
    )
    .await;
    assert!(found.unwrap().to_string().contains("city"));
    // By another process.
    let other = Tenancy::connect(&Config::new(db.url(), Chain::new(ambiguous))).await.unwrap();
    other.create(NewTenant::new(slug("city"))).await.unwrap();
    let found = tenantry_migrate::drift::verify(
        &plain,
        &migrator,
        &tenantry_migrate::drift::VerifyTarget::All,
    )
    .await;
    let found = found.unwrap();
    // The function of this test is outside the schema.
    assert!(found.is_clean(), "{found}");
    let comment = "SELECT coalesce(obj_description('city'::regnamespace), 'none')";
    assert_eq!(texts(&plain, comment).await, ["none"]);
}

#[tokio::test]
async fn schema_created_by_hand_is_never_removed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain::new(ambiguous))).await.unwrap();
    tenancy.create(NewTenant::new(slug("town"))).await.unwrap();
    // With a mark copied from another schema.
    for comment in ["NULL", "'tenantry: unfinished creation of schema 1'"] {
        texts(&plain, "DROP SCHEMA IF EXISTS city").await;
        texts(&plain, "CREATE SCHEMA city").await;
        texts(&plain, &format!("COMMENT ON SCHEMA city IS {comment}")).await;
        let error = tenancy.create(NewTenant::new(slug("city"))).await.unwrap_err();
        assert!(error.to_string().contains("belongs to no tenant"), "{error}");
        assert!(schemas(&plain).await.contains(&"city".to_owned()));
    }
}

#[tokio::test]
async fn concurrent_creations_of_one_slug_create_one_tenant() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancies = [
        Tenancy::connect(&Config::new(db.url(), Chain::new(ambiguous))).await.unwrap(),
        Tenancy::connect(&Config::new(db.url(), Chain::new(ambiguous))).await.unwrap(),
    ];
    let creations = (0..6).map(|n| tenancies[n % 2].create(NewTenant::new(slug("city"))));
    let created = futures_util::future::join_all(creations).await;
    assert_eq!(created.iter().filter(|it| it.is_ok()).count(), 1);
    for error in created.into_iter().filter_map(Result::err) {
        assert!(matches!(error, tenantry::Error::SlugTaken(_)), "{error}");
    }
    assert_eq!(schemas(&plain).await, ["city", "public", "registry"]);
    let report =
        check(&plain, &DynMigrator::tenant(Chain::new(ambiguous)), Profile::Citus).await.unwrap();
    assert!(
        report.findings.iter().all(|it| it.rule != tenantry_migrate::lint::Rule::MigrationFails)
    );
    assert_eq!(schemas(&plain).await, ["city", "public", "registry"]);
}

/// The seed fails.
#[tokio::test]
async fn failing_seed_removes_tenant_created_with_commits() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let fails = |_: &tenantry::TenantTransaction| -> futures_util::future::BoxFuture<
        '_,
        Result<(), Box<dyn std::error::Error + Send + Sync>>,
    > { Box::pin(async { Err("no seed".into()) }) };
    let seed = tenantry::Seed::new(fails);
    let config = Config { seed: Some(seed), ..Config::new(db.url(), Chain::new(ambiguous)) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("city"))).await.unwrap_err();
    assert!(error.to_string().contains("city"), "{error}");
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, [""; 0]);
}

#[tokio::test]
async fn creation_with_commits_needs_one_connection() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { max_connections: 1, ..Config::new(db.url(), Chain::new(ambiguous)) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let new = |name: &str, host: &str| {
        let mut new = NewTenant::new(slug(name));
        new.domains.push(host.parse().unwrap());
        new
    };
    let names = [("city", "city.example.org"), ("town", "town.example.org")];
    let creations = names.map(|(name, host)| tenancy.create(new(name, host)));
    for created in futures_util::future::join_all(creations).await {
        created.unwrap();
    }
    // The conflict is detected before the schema is created.
    let error = tenancy.create(new("third", "city.example.org")).await.unwrap_err();
    assert!(matches!(error, tenantry::Error::HostTaken { .. }), "{error:?}");
    let error = tenancy.create(new("city", "third.example.org")).await.unwrap_err();
    assert!(matches!(error, tenantry::Error::SlugTaken(_)), "{error:?}");
    assert_eq!(schemas(&plain).await, ["city", "public", "registry", "town"]);
    // The name of a schema is never used twice.
    tenancy.drop(&slug("town")).await.unwrap();
    tenancy.create(new("town", "new.example.org")).await.unwrap();
    assert_eq!(schemas(&plain).await, ["city", "public", "registry", "town_2"]);
}
