//! Migrations are recorded in a scratch schema; new schemas and fleet runs use the recording.

mod elsewhere;
mod fleets;
mod values;

use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::{ConnectionTrait, TransactionTrait};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::TenantMigrator;

use crate::support::{
    TestDb,
    catalog::texts,
    log::Log,
    slug,
    sql_migration::{Sql, sql_migrator},
};

/// A migration between one that creates a table and a last one.
#[derive(Clone, Copy)]
struct Chain<M>(M);

impl<M: MigrationTrait + Clone + 'static> MigratorTraitSelf for Chain<M> {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let books = "CREATE TABLE books (id serial PRIMARY KEY, title text, number int)";
        let last = "CREATE TABLE last (id int); INSERT INTO last SELECT count(*) FROM books";
        vec![
            Box::new(sql("m1_books", books)),
            Box::new(self.0.clone()),
            Box::new(sql("m3_last", last)),
        ]
    }
}

impl<M: MigrationTrait + Clone + 'static> TenantMigrator for Chain<M> {}

const fn sql(name: &'static str, up: &'static str) -> Sql {
    Sql { name, up, down: "", alone: false, breaking: false }
}

/// Reads of a migration before it creates the table `there`.
#[derive(Debug, Clone, Copy)]
enum Odd {
    Asks,
    Inserts,
    IsToldKeys,
    UpdatesWhatABlockInserted,
    Selects,
    Nests,
    MakesUpAnId,
    ReadsTheTime,
    RollsBack,
    NamesItsSchema,
    ReadsItsOwnRecord,
}

impl MigrationName for Odd {
    fn name(&self) -> &str {
        "m2_odd"
    }
}

fn statement(sql: impl Into<String>) -> sea_orm::Statement {
    sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)
}

#[async_trait::async_trait]
impl MigrationTrait for Odd {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let is_there = match self {
            Self::Asks => {
                manager.has_column("books", "title").await? && !manager.has_table("x").await?
            }
            Self::Inserts => {
                let insert = "INSERT INTO books (title) VALUES ('x'), ('y')";
                db.execute_unprepared(insert).await?.rows_affected() == 2
            }
            Self::IsToldKeys => {
                let insert = "INSERT INTO books (title) VALUES ('x'), ('y') RETURNING id";
                let keys = db.query_all_raw(statement(insert)).await?;
                let last: i32 = keys[1].try_get_by_index(0)?;
                let update = format!("UPDATE books SET number = {last} WHERE id = {last}");
                db.execute_unprepared(&update).await?.rows_affected() == 1 && last == 2
            }
            Self::UpdatesWhatABlockInserted => {
                let block = "DO $$ BEGIN INSERT INTO books (title) VALUES ('x'); END $$";
                db.execute_unprepared(block).await?;
                let update = "UPDATE books SET title = 'z'";
                db.execute_unprepared(update).await?.rows_affected() == 1
            }
            Self::Selects => {
                let select = "SELECT setval('books_id_seq', 41) FROM generate_series(1, 3)";
                db.execute_unprepared(select).await?.rows_affected() == 3
            }
            Self::Nests => {
                let inner = db.begin().await?;
                inner.execute_unprepared("INSERT INTO books (title) VALUES ('x')").await?;
                inner.commit().await?;
                true
            }
            Self::MakesUpAnId => {
                let id = uuid::Uuid::now_v7();
                let insert = format!("INSERT INTO books (title) VALUES ('{id}')");
                db.execute_unprepared(&insert).await?.rows_affected() == 1
            }
            Self::ReadsTheTime => {
                let row = db.query_one_raw(statement("SELECT now()::text")).await?;
                let now: String = row.unwrap().try_get_by_index(0)?;
                let insert = format!("INSERT INTO books (title) VALUES ('{now}')");
                db.execute_unprepared(&insert).await?.rows_affected() == 1
            }
            Self::RollsBack => {
                let inner = db.begin().await?;
                inner.execute_unprepared("DROP TABLE books").await?;
                inner.rollback().await?;
                true
            }
            Self::NamesItsSchema => {
                let row = db.query_one_raw(statement("SELECT current_schema()::text")).await?;
                let schema: String = row.unwrap().try_get_by_index(0)?;
                let insert = format!("INSERT INTO {schema}.books (title) VALUES ('{schema}')");
                db.execute_unprepared(&insert).await?.rows_affected() == 1
            }
            Self::ReadsItsOwnRecord => {
                let count = "SELECT count(*) FROM seaql_migrations";
                let row = db.query_one_raw(statement(count)).await?;
                row.unwrap().try_get_by_index::<i64>(0)? == 1
            }
        };
        let table = if is_there { "there" } else { "missing" };
        db.execute_unprepared(&format!("CREATE TABLE {table} (id uuid)")).await?;
        Ok(())
    }
}

impl Odd {
    /// Why it cannot be recorded, if it cannot.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::MakesUpAnId | Self::ReadsTheTime | Self::NamesItsSchema => {
                Some("its statements, or their results, differ between two runs")
            }
            Self::RollsBack => Some("it rolls a transaction back"),
            Self::ReadsItsOwnRecord => Some("it uses seaql_migrations, which is written last"),
            _ => None,
        }
    }
}

const ODDS: [Odd; 11] = [
    Odd::Asks,
    Odd::Inserts,
    Odd::IsToldKeys,
    Odd::UpdatesWhatABlockInserted,
    Odd::Selects,
    Odd::Nests,
    Odd::MakesUpAnId,
    Odd::ReadsTheTime,
    Odd::RollsBack,
    Odd::NamesItsSchema,
    Odd::ReadsItsOwnRecord,
];

#[tokio::test]
async fn migrations_are_recorded_unless_two_runs_differ() {
    for odd in ODDS {
        let db = TestDb::new().await;
        let plain = db.plain().await;
        let log = Log::listen();
        let tenancy = Tenancy::connect(&Config::new(db.url(), Chain(odd))).await.unwrap();
        for name in ["city", "town"] {
            tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        }
        let log = log.text();
        let named = usize::from(odd.reason().is_some());
        assert_eq!(log.matches("cannot be recorded").count(), named, "{odd:?}: {log}");
        if let Some(reason) = odd.reason() {
            let reason = format!("reason={reason:?}");
            assert!(log.contains("m2_odd") && log.contains(&reason), "{odd:?}: {log}");
        }
        // The migrations before and after are one batch each, or all are one.
        let sent = db.statements();
        let count = |words: &[&str]| {
            sent.iter().filter(|sql| words.iter().all(|word| sql.contains(word))).count()
        };
        assert_eq!(count(&["CREATE SCHEMA", "CREATE TABLE books"]), 2, "{odd:?}: {sent:#?}");
        let whole = ["CREATE SCHEMA", "TABLE books", "TABLE there", "TABLE last", "m3_last"];
        assert_eq!(count(&whole), if named == 0 { 2 } else { 0 }, "{odd:?}: {sent:#?}");
        assert_eq!(count(&["CREATE TABLE last", "m3_last", "RELEASE"]), 2, "{odd:?}: {sent:#?}");

        let there =
            "SELECT nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                     WHERE relname = 'there' ORDER BY 1";
        assert_eq!(texts(&plain, there).await, ["city", "town"], "{odd:?}");
        for schema in ["city", "town"] {
            let records = format!("SELECT version FROM {schema}.seaql_migrations ORDER BY version");
            assert_eq!(texts(&plain, &records).await, ["m1_books", "m2_odd", "m3_last"]);
            let next = format!("INSERT INTO {schema}.books (number) VALUES (0) RETURNING id::text");
            let expected = match odd {
                Odd::Selects => "42",
                Odd::Inserts | Odd::IsToldKeys => "3",
                Odd::Asks | Odd::RollsBack | Odd::ReadsItsOwnRecord => "1",
                _ => "2",
            };
            assert_eq!(texts(&plain, &next).await, [expected], "{odd:?}");
        }
        let titles = "SELECT title FROM city.books UNION SELECT title FROM town.books";
        let differ = matches!(odd, Odd::MakesUpAnId | Odd::ReadsTheTime | Odd::NamesItsSchema);
        let titles = texts(&plain, &format!("SELECT count(title)::text FROM ({titles}) t")).await;
        assert_eq!(
            titles == ["2"],
            differ || matches!(odd, Odd::Inserts | Odd::IsToldKeys),
            "{odd:?}"
        );
    }
}

/// Counts how often it runs.
#[derive(Clone, Copy)]
struct Counted;

static RUNS: AtomicUsize = AtomicUsize::new(0);

impl MigrationName for Counted {
    fn name(&self) -> &str {
        "m2_counted"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Counted {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        RUNS.fetch_add(1, Ordering::Relaxed);
        manager.has_table("books").await.map(drop)
    }
}

#[tokio::test]
async fn migrations_run_twice_per_process() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain(Counted))).await.unwrap();
    for number in 0..10 {
        tenancy.create(NewTenant::new(slug(&format!("city-{number}")))).await.unwrap();
    }
    // Once more if a quarter of an hour begins in between.
    assert!((2..=3).contains(&RUNS.load(Ordering::Relaxed)), "{RUNS:?}");
    let left = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'tenantry\\_%'";
    assert_eq!(texts(&db.plain().await, left).await, [""; 0]);
}

#[tokio::test]
async fn migration_that_fails_in_one_schema_is_named_and_leaves_nothing() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    // A recording does not contain the tenant's name.
    let migrator = sql_migrator([
        sql("m1_books", "CREATE TABLE books (id int)"),
        sql(
            "m2_picky",
            "DO $$ BEGIN IF current_schema() = 'town' THEN RAISE 'not here'; END IF; END $$",
        ),
    ]);
    let tenancy = Tenancy::connect(&Config::new(db.url(), migrator)).await.unwrap();
    tenancy.create(NewTenant::new(slug("city"))).await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("town"))).await.unwrap_err().to_string();
    assert!(error.contains("migration m2_picky failed in schema \"town\""), "{error}");
    assert_eq!(texts(&plain, "SELECT slug FROM registry.tenants").await, ["city"]);
}
