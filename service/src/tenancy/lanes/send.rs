//! Statements of SeaORM on a connection of sqlx.

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use sea_orm::{
    DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
    sqlx::{self, AssertSqlSafe, Executor, Postgres, query::Query},
};
use sea_query_sqlx::SqlxValues;

use super::pinned::Pinned;

impl Pinned {
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let query = self.query(statement);
        query.execute(&mut *self.connection).await.map(Into::into).map_err(exec_error)
    }

    pub(super) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, DbErr> {
        let query = self.query(statement);
        let row = query.fetch_optional(&mut *self.connection).await;
        row.map(|row| row.map(Into::into)).map_err(query_error)
    }

    pub(super) async fn query_all(
        &mut self,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let query = self.query(statement);
        let rows = query.fetch(&mut *self.connection);
        rows.map_ok(Into::into).try_collect().await.map_err(query_error)
    }

    /// The rows as they come.
    pub(super) fn stream(
        &mut self,
        statement: Statement,
    ) -> BoxStream<'_, Result<QueryResult, DbErr>> {
        let query = self.query(statement);
        query.fetch(&mut *self.connection).map_ok(Into::into).map_err(query_error).boxed()
    }

    /// Sends text as it is, in one round trip. Nothing at all is one too.
    pub(super) async fn send(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        (&mut *self.connection).execute(sql).await.map(Into::into).map_err(exec_error)
    }

    fn query(&mut self, statement: Statement) -> Query<'static, Postgres, SqlxValues> {
        let Statement { sql, values, .. } = statement;
        let kept = self.life.statements.admits(&sql);
        let values = SqlxValues(values.unwrap_or(Values(Vec::new())));
        sqlx::query_with(AssertSqlSafe(sql), values).persistent(kept)
    }
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
