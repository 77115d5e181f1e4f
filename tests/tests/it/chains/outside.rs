//! Non-transactional migrations.

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;

use super::{Chain, Migrations, alone, first, sql, ways::works_everywhere};

/// Nested transactions.
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

/// Statements that cannot run in a transaction.
fn upkeep() -> Migrations {
    vec![
        first(),
        sql(
            "m2_parts",
            "CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE parts_old PARTITION OF parts
                 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
            "DROP TABLE parts",
        ),
        alone(
            "m3_reindex",
            "REINDEX (CONCURRENTLY) TABLE books; REINDEX (VERBOSE, CONCURRENTLY) INDEX books_pkey;
             REINDEX TABLE parts; CLUSTER; VACUUM (ANALYZE) parts",
            "REINDEX INDEX parts_pkey",
        ),
        // The bounds become a constraint.
        alone(
            "m4_detach",
            "ALTER TABLE parts DETACH PARTITION parts_old CONCURRENTLY",
            "DROP TABLE parts_old",
        ),
    ]
}

#[tokio::test]
async fn reindex_and_detached_partitions_do_the_same_everywhere() {
    let probe = "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE conrelid = 'parts_old'::regclass AND contype = 'c'";
    let check = "parts_old_at_check CHECK (((at IS NOT NULL) AND (at >= '2024-01-01'::date) \
                 AND (at < '2025-01-01'::date)))";
    works_everywhere(Chain::new(upkeep), probe, &[check]).await;
}

/// DO blocks that commit.
fn blocks() -> Migrations {
    vec![
        first(),
        alone(
            "m2_block",
            "DO $$ BEGIN
                 FOR n IN 1..3 LOOP
                     INSERT INTO books VALUES (n, 'COMMIT;') ON CONFLICT DO NOTHING;
                     COMMIT;
                 END LOOP;
             END $$",
            "DELETE FROM books",
        ),
        alone(
            "m3_beside_others",
            "INSERT INTO books VALUES ('4', 'four') ON CONFLICT DO NOTHING;
             DO LANGUAGE plpgsql $block$
             BEGIN IF true THEN /* so far */ COMMIT; ELSE COMMIT; END IF; END
             $block$;
             UPDATE books SET title = $$COMMIT;$$ WHERE isbn = '4'",
            "DELETE FROM books WHERE isbn = '4'",
        ),
    ]
}

#[tokio::test]
async fn blocks_that_commit_do_the_same_everywhere() {
    let probe = "SELECT isbn || ' ' || title FROM books ORDER BY isbn";
    let rows = ["1 COMMIT;", "2 COMMIT;", "3 COMMIT;", "4 COMMIT;"];
    works_everywhere(Chain::new(blocks), probe, &rows).await;
}
