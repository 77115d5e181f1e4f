//! Functions with side effects in queries.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::{Chain, Migrations, first, ways::works_everywhere};

struct Calls {
    name: &'static str,
    sql: &'static str,
}

impl MigrationName for Calls {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Calls {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let call = Statement::from_string(DbBackend::Postgres, self.sql);
        let row = manager.get_connection().query_one_raw(call).await?;
        assert_eq!(row.unwrap().try_get_by_index::<String>(0)?, "70");
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

#[tokio::test]
async fn settings_and_sequences_that_a_query_sets_are_the_same_everywhere() {
    fn calls() -> Migrations {
        vec![
            first(),
            Box::new(Calls {
                name: "m2_setting",
                sql: "SELECT set_config('shop.start', '70', true)",
            }),
            super::sql(
                "m3_sequence",
                "CREATE SEQUENCE numbers;
                 SELECT setval('numbers', current_setting('shop.start')::int) WHERE false;",
                "DROP SEQUENCE numbers",
            ),
            Box::new(Calls { name: "m4_start", sql: "SELECT setval('numbers', 70)::text" }),
            super::sql(
                "m5_row",
                "INSERT INTO books VALUES (nextval('numbers'))",
                "DELETE FROM books",
            ),
        ]
    }
    works_everywhere(Chain::new(calls), "SELECT isbn FROM books", &["71"]).await;
}

#[tokio::test]
async fn a_setting_of_the_transaction_that_a_query_sets_is_part_of_a_dry_run() {
    fn calls() -> Migrations {
        vec![
            Box::new(Calls {
                name: "m1_setting",
                sql: "SELECT set_config('shop.start', '70', true)",
            }),
            super::sql(
                "m2_rows",
                "CREATE TABLE books (isbn text CONSTRAINT books_pkey PRIMARY KEY, title text);
                 INSERT INTO books SELECT coalesce(current_setting('shop.start', true), 'none')",
                "DROP TABLE books",
            ),
        ]
    }
    let db = crate::support::TestDb::new().await;
    let plain = db.plain().await;
    crate::support::catalog::texts(&plain, "CREATE SCHEMA city").await;
    let migrator = tenantry_migrate::DynMigrator::tenant(Chain::new(calls));
    let city = tenantry_migrate::Target::Schema("city".parse().unwrap());
    let up = tenantry_migrate::Action::Up(None);
    let script = tenantry_migrate::dry_run(&plain, &city, &migrator, &up).await.unwrap();
    assert!(script.iter().any(|sql| sql.contains("set_config('shop.start'")), "{script:#?}");
}

/// From PostgreSQL 17 on, the `search_path` is `pg_catalog` while an index is built and a view is
/// refreshed.
#[tokio::test]
async fn indexes_and_views_on_functions_of_the_schema_do_the_same_everywhere() {
    fn marks() -> Migrations {
        vec![
            first(),
            super::sql(
                "m2_functions",
                "CREATE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 / 2';
                 CREATE FUNCTION rank_of(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
                     SET search_path FROM CURRENT AS 'BEGIN RETURN half($1); END'",
                "DROP FUNCTION rank_of; DROP FUNCTION half",
            ),
            super::sql(
                "m3_marks",
                "CREATE TABLE marks (value int); INSERT INTO marks VALUES (4);
                 CREATE INDEX marks_rank_idx ON marks (rank_of(value));
                 CREATE MATERIALIZED VIEW ranks AS SELECT rank_of(value) AS rank FROM marks",
                "DROP MATERIALIZED VIEW ranks; DROP TABLE marks",
            ),
        ]
    }
    works_everywhere(Chain::new(marks), "SELECT rank::text FROM ranks", &["2"]).await;
}
