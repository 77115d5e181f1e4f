//! Migrations that run outside a transaction.

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;

use super::{Chain, Migrations, alone, first, sql, ways::works_everywhere};

/// Transactions of its own, one inside the other.
struct Begins;

impl MigrationName for Begins {
    fn name(&self) -> &str {
        "m5_begins"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Begins {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let kept = manager.begin().await?;
        kept.get_connection().execute_unprepared("INSERT INTO books VALUES ('5', 'kept')").await?;
        let nested = kept.begin().await?;
        nested.get_connection().execute_unprepared("INSERT INTO books VALUES ('6', 'in')").await?;
        nested.commit().await?;
        let failing = kept.begin().await?;
        let again = failing.get_connection().execute_unprepared("INSERT INTO books VALUES ('6')");
        again.await.unwrap_err();
        drop(failing);
        kept.commit().await?;
        let dropped = manager.begin().await?;
        dropped.get_connection().execute_unprepared("DELETE FROM books").await?;
        drop(dropped);
        let after = "INSERT INTO books VALUES ('7', 'after')";
        manager.get_connection().execute_unprepared(after).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("TRUNCATE books").await.map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }
}

fn outside() -> Migrations {
    vec![
        first(),
        alone(
            "m2_several",
            "CREATE TABLE shelves (id int PRIMARY KEY, label text);
             INSERT INTO shelves SELECT n, 'shelf; ' || n FROM generate_series(1, 3) n",
            "DROP TABLE shelves",
        ),
        alone(
            "m3_index",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS shelves_label_idx ON shelves (label);
             ANALYZE shelves; VACUUM shelves;
             CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS books_title_idx ON books (title)",
            "DROP INDEX CONCURRENTLY IF EXISTS books_title_idx;
             DROP INDEX CONCURRENTLY IF EXISTS shelves_label_idx",
        ),
        sql(
            "m4_price",
            "ALTER TABLE books ADD COLUMN price int",
            "ALTER TABLE books DROP COLUMN price",
        ),
        Box::new(Begins),
    ]
}

#[tokio::test]
async fn several_statements_concurrent_indexes_and_nested_transactions_do_the_same_everywhere() {
    let probe = "SELECT isbn || ' ' || title FROM books
                 UNION ALL SELECT id || ' ' || label FROM shelves ORDER BY 1";
    let rows = ["1 shelf; 1", "2 shelf; 2", "3 shelf; 3", "5 kept", "6 in", "7 after"];
    works_everywhere(Chain::new(outside), probe, &rows).await;
}
