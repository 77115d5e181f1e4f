//! A migration that panics is one tenant's failure.

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;

use super::{Chain, Migrations, first, ways::fails_everywhere};

struct Panics {
    alone: bool,
}

impl MigrationName for Panics {
    fn name(&self) -> &str {
        "m2_panics"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Panics {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let inner = manager.begin().await?;
        inner.get_connection().execute_unprepared("CREATE TABLE \"inner\" (id int)").await?;
        let rows = db.execute_unprepared("SELECT 1 WHERE false").await?.rows_affected();
        assert_eq!(rows, 1, "no row of the shelf");
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        self.alone.then_some(false)
    }
}

#[tokio::test]
async fn a_panic_fails_everywhere_with_the_migrations_name_and_leaves_nothing() {
    fn panics() -> Migrations {
        vec![first(), Box::new(Panics { alone: false })]
    }
    let words = ["m2_panics", "panic", "no row of the shelf"];
    fails_everywhere(Chain::new(panics), &words).await;
}

#[tokio::test]
async fn a_panic_outside_a_transaction_fails_everywhere_too() {
    fn panics() -> Migrations {
        vec![first(), Box::new(Panics { alone: true })]
    }
    let words = ["m2_panics", "panic", "no row of the shelf"];
    fails_everywhere(Chain::new(panics), &words).await;
}
