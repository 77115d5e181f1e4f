//! Spares: each is taken once, and becomes a tenant like any other.

use std::collections::HashSet;

use entity::guard;
use futures_util::future::join_all;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DatabaseConnection, Set};
use tenantry::{Config, Error, NewTenant, Tenancy, page::PageRequest};
use tenantry_migrate::{
    DynMigrator,
    drift::{VerifyTarget, verify},
};

use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    database::server,
    http_server::eventually,
    log::Log,
    process::Ran,
    slug,
    sql_migration::{Sql, SqlMigrator, sql_migrator},
    statement_log::Mark,
};

/// A tenancy that has created this number of spares.
async fn keeping(db: &TestDb, spares: u32) -> Tenancy {
    let tenancy = Tenancy::connect(&Config { spares, ..db.config() }).await.unwrap();
    let plain = db.plain().await;
    eventually("there are spares", async || ready(&plain).await.len() == spares as usize).await;
    tenancy
}

/// The schemas of the spares that are ready.
async fn ready(db: &DatabaseConnection) -> Vec<String> {
    texts(db, "SELECT schema FROM registry.tenants WHERE status = 'spare' ORDER BY id").await
}

/// The spares that have become tenants.
fn claimed(db: &TestDb) -> Vec<String> {
    let renames = db.statements().into_iter().filter_map(|sql| {
        let (spare, _) = sql.strip_prefix("ALTER SCHEMA ")?.split_once(" RENAME TO ")?;
        Some(spare.trim_matches('"').to_owned())
    });
    renames.collect()
}

async fn assert_clean(db: &DatabaseConnection) {
    let found =
        verify(db, &DynMigrator::new(migration::Migrator), &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
}

#[tokio::test]
async fn a_connection_that_has_taken_a_spare_takes_the_next_one() {
    let db = TestDb::new().await;
    keeping(&db, 4).await.close().await;
    // With a lower target none are created meanwhile.
    let config = Config { spares: 1, max_connections: 1, ..db.config() };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("first"))).await.unwrap();
    let mark = Mark::now(server());
    for name in ["second", "third"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let statements = mark.statements(db.name());
    let renames = statements.iter().filter(|(_, sql)| sql.contains("RENAME TO"));
    let sessions: Vec<&String> = renames.map(|(session, _)| session).collect();
    assert_eq!((sessions.len(), sessions[0]), (2, sessions[1]), "{statements:#?}");
}

#[tokio::test]
async fn a_tenant_made_out_of_a_spare_is_like_any_other() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let before = db.tenancy().await.create(NewTenant::new(slug("tenant-0"))).await.unwrap();
    let tenancy = keeping(&db, 2).await;
    let spares = ready(&plain).await;
    assert_clean(&plain).await;

    let domains = vec!["guards.example.org".parse().unwrap()];
    let record =
        tenancy.create(NewTenant { domains, ..NewTenant::new(slug("tenant-1")) }).await.unwrap();
    assert_eq!(claimed(&db), spares[..1]);
    assert_eq!(Some(&record), tenancy.get(&slug("tenant-1")).await.unwrap().as_ref());
    assert_eq!((record.schema.as_str(), record.status), ("tenant_1", "active"));
    assert_eq!(record.schema_version, before.schema_version);
    assert!(record.id > before.id);
    assert_clean(&plain).await;
    let tenant = tenancy.tenant_by_host("guards.example.org").await.unwrap();
    let abu = guard::ActiveModel {
        name: Set("Abu".into()),
        position: Set("Guard".into()),
        ..Default::default()
    };
    abu.insert(&tenant).await.unwrap();

    // Another one is created in its place. Spares are not listed.
    eventually("there are two again", async || ready(&plain).await.len() == 2).await;
    let listed = tenancy.list(PageRequest::default()).await.unwrap();
    let listed: Vec<_> = listed.items.iter().map(|record| record.slug.as_str()).collect();
    assert_eq!(listed, ["tenant-0", "tenant-1"]);
    let ran = Ran::on("tenantry", &db.url(), &["tenant", "list"]).exits(0);
    assert!(!ran.stdout.contains("spare"), "{}", ran.stdout);
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    assert_clean(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_take_different_spares_and_the_rest_are_made_as_usual() {
    const TENANTS: usize = 24;
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancies = [keeping(&db, 4).await, keeping(&db, 4).await];
    let tasks = (0..TENANTS).map(|number| {
        let tenancy = tenancies[number % 2].clone();
        let new = NewTenant::new(slug(&format!("tenant-{number}")));
        tokio::spawn(async move { tenancy.create(new).await.unwrap() })
    });
    let records: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let claimed = claimed(&db);
    let different: HashSet<_> = claimed.iter().collect();
    assert_eq!(different.len(), claimed.len(), "{claimed:?}");
    assert!(claimed.len() >= 4, "{claimed:?}");
    let made = |sql: &String| sql.contains("CREATE SCHEMA \"tenant_");
    let made = db.statements().into_iter().filter(made).count();
    assert_eq!(made + claimed.len(), TENANTS);
    let schemas: HashSet<_> = records.iter().map(|record| &record.schema).collect();
    assert_eq!(schemas.len(), TENANTS);
    eventually("there are four again", async || ready(&plain).await.len() == 4).await;
    assert_clean(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_never_create_more_spares_than_configured() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { spares: 5, ..db.config() };
    let mut tenancies = Vec::new();
    for _ in 0..3 {
        tenancies.push(Tenancy::connect(&config).await.unwrap());
    }
    eventually("there are five", async || {
        let there = ready(&plain).await.len();
        assert!(there <= 5, "{there} spares");
        there == 5
    })
    .await;
    let more = tenancies.iter().map(|tenancy| tenancy.create(NewTenant::new(slug("tenant-1"))));
    assert_eq!(join_all(more).await.iter().filter(|result| result.is_ok()).count(), 1);
    eventually("there are five again", async || ready(&plain).await.len() == 5).await;
    for tenancy in tenancies {
        tenancy.close().await;
    }
    assert_eq!(ready(&plain).await.len(), 5);
    // Nothing is left of one that was being created, either.
    assert_clean(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_creation_does_not_use_up_a_spare() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = keeping(&db, 3).await;
    texts(&plain, "CREATE SCHEMA left_over").await;
    let error = tenancy.create(NewTenant::new(slug("left-over"))).await.unwrap_err();
    assert!(matches!(error, Error::SchemaTaken(_)), "{error}");
    texts(&plain, "DROP SCHEMA left_over").await;
    let tasks = (0..16).map(|_| {
        let tenancy = tenancy.clone();
        tokio::spawn(async move { tenancy.create(NewTenant::new(slug("tenant-1"))).await })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, Error::SlugTaken(_)), "{error}");
    }
    let domains = vec!["guards.example.org".parse().unwrap()];
    tenancy.domain_add(&slug("tenant-1"), &domains[0]).await.unwrap();
    let error = tenancy
        .create(NewTenant { domains, ..NewTenant::new(slug("tenant-2")) })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::HostTaken(_)), "{error}");
    eventually("there are three again", async || ready(&plain).await.len() == 3).await;
    assert_eq!(schemas(&plain).await.len(), ["public", "registry", "tenant_1"].len() + 3);
    assert_clean(&plain).await;
}

#[tokio::test]
async fn a_fleet_run_migrates_spares_and_one_that_is_behind_is_not_taken() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = keeping(&db, 2).await;
    Ran::on("migration", &db.url(), &["down", "--all", "--yes"]).exits(0);
    let record = tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    assert_eq!(record.schema_version, DynMigrator::new(migration::Migrator).latest());
    assert_eq!(claimed(&db), [""; 0]);
    assert_eq!(ready(&plain).await.len(), 2);

    Ran::on("migration", &db.url(), &["up", "--all"]).exits(0);
    tenancy.create(NewTenant::new(slug("tenant-2"))).await.unwrap();
    assert_eq!(claimed(&db).len(), 1);
    assert_clean(&plain).await;
}

#[tokio::test]
async fn a_command_takes_a_spare_too() {
    let db = TestDb::new().await;
    keeping(&db, 1).await.close().await;
    let create = ["tenant", "create", "tenant-1", "--spares", "1"];
    Ran::on("tenantry", &db.url(), &create).exits(0).says(["tenant_1"]);
    assert_eq!(claimed(&db).len(), 1);
    assert_clean(&db.plain().await).await;
}

#[tokio::test]
async fn there_are_no_spares_where_migrations_write_the_name_of_their_schema() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let up = "CREATE TABLE books (title text);
              DO $do$ BEGIN EXECUTE format('CREATE FUNCTION titles() RETURNS bigint LANGUAGE sql
                  AS $$ SELECT count(*) FROM %I.books $$', current_schema()); END $do$";
    let log = Log::listen();
    let config = Config { spares: 2, ..Config::new(db.url(), books(up)) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    eventually("it is logged", async || log.text().contains("no spares are created")).await;
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    assert_eq!(schemas(&plain).await, ["city", "public", "registry"]);
    // It works in its own schema, which it would not after a rename.
    plain.execute_unprepared("SELECT city.titles()").await.unwrap();
}

#[tokio::test]
async fn a_function_with_its_own_search_path_works_in_a_tenant_made_of_a_spare() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let up = "CREATE TABLE books (title text);
              CREATE TABLE audit (title text);
              CREATE FUNCTION titles(\"a,b\" text) RETURNS bigint LANGUAGE sql
                  SET search_path FROM CURRENT SET work_mem = '8MB'
                  AS 'SELECT count(*) FROM books';
              CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                  SET search_path FROM CURRENT
                  AS $$ BEGIN INSERT INTO audit VALUES (NEW.title); RETURN NEW; END $$;
              CREATE PROCEDURE clear() LANGUAGE plpgsql SET search_path = pg_catalog
                  AS 'BEGIN NULL; END';
              CREATE TRIGGER books_audited AFTER INSERT ON books
                  FOR EACH ROW EXECUTE FUNCTION audited()";
    let config = Config { spares: 1, ..Config::new(db.url(), books(up)) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    eventually("there is a spare", async || ready(&plain).await.len() == 1).await;
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    assert_eq!(claimed(&db).len(), 1);
    tenancy.close().await;
    plain.execute_unprepared("INSERT INTO city.books VALUES ('a')").await.unwrap();
    assert_eq!(texts(&plain, "SELECT title FROM city.audit").await, ["a"]);
    assert_eq!(texts(&plain, "SELECT city.titles('')::text").await, ["1"]);
    let own = "SELECT unnest(proconfig) FROM pg_proc WHERE proname = 'clear'";
    assert_eq!(texts(&plain, own).await, ["search_path=pg_catalog"]);
    let migrator = DynMigrator::new(books(up));
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    assert!(found.is_clean(), "{found}");
}

fn books(up: &'static str) -> SqlMigrator {
    sql_migrator([Sql { name: "m1_books", up, down: "", alone: false, breaking: false }])
}
