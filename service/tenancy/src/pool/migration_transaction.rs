use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::{super::statement::Effect, Executor, Transaction};

/// A transaction as migrations use it. They may change the session, so the connection is closed
/// after it unless nothing but a batch was sent that leaves the session as it is.
pub struct MigrationTransaction<'a>(pub &'a Transaction);

#[async_trait::async_trait]
impl ConnectionTrait for MigrationTransaction<'_> {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.0.execute_statement(statement.into(), Effect::Replace).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.0.execute_batch(sql, Effect::of(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.0.fetch_optional(statement.into(), Effect::Replace).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.0.fetch_all(statement.into(), Effect::Replace).await
    }
}
