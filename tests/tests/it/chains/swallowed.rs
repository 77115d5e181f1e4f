//! Errors that a migration ignores: PostgreSQL has aborted the transaction.

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;
use tenantry::{Config, NewTenant, Tenancy};

use super::{Chain, Migrations, first, ways::fails_everywhere};
use crate::support::{TestDb, slug};

struct Ignores {
    goes_on: bool,
}

impl MigrationName for Ignores {
    fn name(&self) -> &str {
        "m2_ignores"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Ignores {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let _ = db.execute_unprepared("INSERT INTO nowhere VALUES (1)").await;
        if self.goes_on {
            db.execute_unprepared("INSERT INTO books VALUES ('1', 'one')").await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_error_that_a_migration_ignores_is_reported_as_its_failure() {
    fn ignores() -> Migrations {
        vec![first(), Box::new(Ignores { goes_on: false })]
    }
    fail(ignores).await;
}

#[tokio::test]
async fn later_statement_does_not_hide_ignored_error() {
    fn ignores() -> Migrations {
        vec![first(), Box::new(Ignores { goes_on: true })]
    }
    fail(ignores).await;
}

async fn fail(migrations: fn() -> Migrations) {
    fails_everywhere(Chain::new(migrations), &["nowhere"]).await;
    let db = TestDb::new().await;
    let config = Config::new(db.url(), Chain::new(migrations));
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let error = tenancy.create(NewTenant::new(slug("city"))).await.unwrap_err().to_string();
    assert!(error.contains("m2_ignores"), "{error}");
}
