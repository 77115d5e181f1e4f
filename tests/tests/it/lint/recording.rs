//! The lint examines the statements that a migration sends, in the state that a run would have.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::{
    DynMigrator,
    lint::{Profile, Rule, check},
};

use super::plan::report;
use crate::support::{TestDb, catalog::schemas};

#[tokio::test]
async fn reports_migration_statement_and_help() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = report(
        db,
        &[
            "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE bare (id bigserial)",
            "ALTER TABLE things ADD a text",
            "ALTER TABLE things DROP COLUMN name, ALTER COLUMN amount TYPE bigint",
        ],
    )
    .await;
    let found: Vec<_> = report.findings.iter().map(|it| (it.migration.as_str(), it.rule)).collect();
    assert_eq!(
        found,
        [
            ("m2", Rule::CustomType),
            ("m2", Rule::Identity),
            ("m2", Rule::PrimaryKey),
            ("m4", Rule::MultipleActions),
            ("m4", Rule::TypeChange),
            ("m4", Rule::DropColumn),
        ]
    );
    let first = &report.findings[0];
    assert_eq!(first.statement.as_deref(), Some("CREATE TYPE mood AS ENUM ('good')"));
    assert!(first.help.contains("text with a named CHECK"), "{first:?}");
}

#[tokio::test]
async fn a_failing_migration_ends_the_check() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = report(
        db,
        &[
            "CREATE TABLE bare (id uuid CONSTRAINT bare_pkey PRIMARY KEY, n serial);
           ALTER TABLE nothing ADD a text; SELECT 1",
            "DROP TABLE things",
        ],
    )
    .await;
    let rules: Vec<Rule> = report.findings.iter().map(|it| it.rule).collect();
    assert_eq!(rules, [Rule::Identity, Rule::MigrationFails]);
    let failure = &report.findings[1];
    assert_eq!(failure.migration, "m2");
    assert!(failure.message.contains("42P01"), "{failure:?}");
    assert_eq!(failure.statement.as_deref(), Some("ALTER TABLE nothing ADD a text"));
    assert_eq!(report.migrations, ["m1", "m2"]);
}

#[tokio::test]
async fn examines_statements_after_a_function_body() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = report(
        db,
        &["CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC
               SELECT CASE WHEN a > 1 THEN 2 ELSE CASE a WHEN 1 THEN 3 END END; SELECT a AS end;
           END;
           CREATE TABLE bare (id uuid);
           CREATE OR REPLACE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT f(1); END; COMMIT"],
    )
    .await;
    let found: Vec<_> =
        report.findings.iter().map(|it| (it.rule, it.statement.as_deref().unwrap())).collect();
    let expected =
        [(Rule::PrimaryKey, "CREATE TABLE bare (id uuid)"), (Rule::TransactionControl, "COMMIT")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let before = schemas(db).await;
    report(db, &["CREATE SCHEMA extra", "SELECT 1 / 0"]).await;
    report(db, &["COMMIT"]).await;
    assert_eq!(schemas(db).await, before);
}

#[tokio::test]
async fn concurrent_checks_do_not_interfere() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let one = async || assert!(report(db, &["ALTER TABLE things ADD a text"]).await.is_clean());
    tokio::join!(one(), one(), one());
}

/// Looks before it acts, in a transaction of its own, and asks its own migrations table.
struct Careful;

impl MigrationName for Careful {
    fn name(&self) -> &str {
        "m2_careful"
    }
}

struct First;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m1_first"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for First {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE TABLE shops (id uuid CONSTRAINT shops_pkey PRIMARY KEY, open boolean)";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Careful {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        assert!(manager.has_table("shops").await?);
        assert!(manager.has_column("shops", "open").await?);
        assert!(!manager.has_table("offices").await?);
        let mine = "SELECT version FROM shop_migrations";
        let mine = Statement::from_string(DbBackend::Postgres, mine);
        let row = manager.get_connection().query_one_raw(mine).await?.unwrap();
        assert_eq!(row.try_get::<String>("", "version")?, "m1_first");

        let insert = "INSERT INTO shops (id) VALUES ($1), ($2)";
        let values = [uuid::Uuid::now_v7().into(), uuid::Uuid::now_v7().into()];
        let insert = Statement::from_sql_and_values(DbBackend::Postgres, insert, values);
        let inserted = manager.get_connection().execute_raw(insert).await?;
        assert_eq!(inserted.rows_affected(), 2);

        // One that is given up, and one that is kept.
        let dropped = manager.begin().await?;
        dropped.get_connection().execute_unprepared("DELETE FROM shops").await?;
        drop(dropped);
        let failed = manager.begin().await?;
        failed.get_connection().execute_unprepared("DROP TABLE nothing").await.unwrap_err();
        drop(failed);
        let kept = manager.begin().await?;
        kept.get_connection().execute_unprepared("ALTER TABLE shops DROP COLUMN open").await?;
        kept.commit().await?;
        let count = "SELECT count(*) FROM shops";
        let count = Statement::from_string(DbBackend::Postgres, count);
        let row = manager.get_connection().query_one_raw(count).await?.unwrap();
        assert_eq!(row.try_get::<i64>("", "count")?, 2);
        Ok(())
    }
}

struct Shops;

impl MigratorTraitSelf for Shops {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(First), Box::new(Careful)]
    }

    fn migration_table_name(&self) -> DynIden {
        "shop_migrations".into_iden()
    }
}

#[tokio::test]
async fn migrations_see_the_same_database_as_in_a_run() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = check(db, &DynMigrator::new(Shops), Profile::Citus).await.unwrap();
    let found: Vec<_> = report.findings.iter().map(|it| (it.migration.as_str(), it.rule)).collect();
    assert_eq!(found, [("m2_careful", Rule::DropColumn)], "{report:#?}");
}
