//! Fleet runs use the recording if it fits the tenant.

use std::sync::atomic::AtomicBool;

use sea_orm::DatabaseConnection;
use tenantry_migrate::{Action, DynMigrator, FleetOptions, Summary, TenantSelection, run_fleet};

use super::*;
use crate::support::statement_log::Mark;

/// Depends on the tenant's tables and rows.
#[derive(Clone, Copy)]
enum Looks {
    /// A column that may have been added by hand.
    AtColumn,
    /// Rows.
    AtRows,
}

impl MigrationName for Looks {
    fn name(&self) -> &str {
        "m2_looks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Looks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        match self {
            Self::AtColumn => {
                if !manager.has_column("books", "shelf").await? {
                    db.execute_unprepared("ALTER TABLE books ADD shelf text").await?;
                }
                db.execute_unprepared("INSERT INTO books (title) VALUES ('kept')").await?;
            }
            Self::AtRows => {
                let row = db.query_one_raw(statement("SELECT count(*) FROM books")).await?;
                let books: i64 = row.unwrap().try_get_by_index(0)?;
                db.execute_unprepared(&format!("CREATE TABLE books_{books} (id int)")).await?;
            }
        }
        Ok(())
    }
}

const TENANTS: usize = 9;

/// The migrations before and after have known results.
#[derive(Clone, Copy)]
struct Release(Looks);

impl MigratorTraitSelf for Release {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(BOOKS),
            Box::new(self.0),
            Box::new(sql("m3_last", "CREATE TABLE last (id int)")),
        ]
    }
}

impl TenantMigrator for Release {}

const BOOKS: Sql = sql("m1_books", "CREATE TABLE books (id serial PRIMARY KEY, title text)");

/// Tenants with the first migration; the fifth has a column and a book more.
async fn towns(db: &TestDb) -> DatabaseConnection {
    let tenancy = Tenancy::connect(&Config::new(db.url(), sql_migrator([BOOKS]))).await.unwrap();
    for number in 1..=TENANTS {
        tenancy.create(NewTenant::new(slug(&format!("town-{number}")))).await.unwrap();
    }
    let plain = db.plain().await;
    texts(&plain, "ALTER TABLE town_5.books ADD shelf text").await;
    texts(&plain, "INSERT INTO town_5.books (title) VALUES ('x')").await;
    plain
}

async fn up(db: &DatabaseConnection, migrator: impl TenantMigrator + 'static) -> Summary {
    let fleet = FleetOptions::default();
    let (migrator, stop) = (DynMigrator::tenant(migrator), AtomicBool::new(false));
    run_fleet(db, &migrator, &TenantSelection::All, &Action::Up(None), &fleet, &stop, |_| {})
        .await
        .unwrap()
}

/// Number of tenants for which a batch was sent.
fn batches(mark: &Mark, db: &TestDb) -> usize {
    let sent = mark.statements(db.name());
    let whole =
        |sql: &str| sql.contains("FOR NO KEY UPDATE SKIP LOCKED") && sql.contains("m3_last");
    sent.iter().filter(|(_, sql)| whole(sql)).count()
}

#[tokio::test]
async fn migrations_that_read_run_in_a_batch_per_tenant() {
    let db = TestDb::new().await;
    let plain = towns(&db).await;
    let mark = Mark::now(crate::support::database::server());
    let summary = up(&plain, Release(Looks::AtColumn)).await;
    assert_eq!(summary, Summary { done: TENANTS, ..Summary::default() });
    // The batch for the fifth fails, and then no more are sent.
    assert_eq!(batches(&mark, &db), 5);
    let shelves = "SELECT count(*)::text FROM pg_attribute WHERE attname = 'shelf' AND attnum > 0";
    assert_eq!(texts(&plain, shelves).await, [TENANTS.to_string()]);
    let kept =
        (1..=TENANTS).map(|n| format!("SELECT title FROM town_{n}.books WHERE title = 'kept'"));
    let kept = kept.collect::<Vec<_>>().join(" UNION ALL ");
    assert_eq!(texts(&plain, &kept).await.len(), TENANTS);
}

#[tokio::test]
async fn migration_that_reads_rows_runs_for_each_tenant() {
    let db = TestDb::new().await;
    let plain = towns(&db).await;
    let summary = up(&plain, Release(Looks::AtRows)).await;
    assert_eq!(summary, Summary { done: TENANTS, ..Summary::default() });
    let tables = "SELECT nspname || '.' || relname FROM pg_class c
                  JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'books_1'";
    assert_eq!(texts(&plain, tables).await, ["town_5.books_1"]);
    let others = "SELECT count(*)::text FROM pg_class WHERE relname = 'books_0'";
    assert_eq!(texts(&plain, others).await, [(TENANTS - 1).to_string()]);
}

#[tokio::test]
async fn reports_division_by_zero_of_a_migration_and_keeps_sending_batches() {
    let db = TestDb::new().await;
    let plain = towns(&db).await;
    let divides = "ALTER TABLE books ADD CONSTRAINT divides CHECK (1 / (id - 1) < 2)";
    let last = sql("m3_last", "CREATE TABLE last (id int)");
    let migrator = sql_migrator([BOOKS, sql("m2_divides", divides), last]);
    let mark = Mark::now(crate::support::database::server());
    let summary = up(&plain, migrator).await;
    assert_eq!(summary, Summary { done: TENANTS - 1, failed: 1, ..Summary::default() });
    assert_eq!(batches(&mark, &db), TENANTS);
    let failure = "SELECT concat_ws(' ', slug, migration_error ->> 'migration',
        migration_error ->> 'sqlstate') FROM registry.tenants WHERE migration_error IS NOT NULL";
    assert_eq!(texts(&plain, failure).await, ["town-5 m2_divides 22012"]);
}
