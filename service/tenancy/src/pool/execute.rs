//! Execution of SeaORM statements on a connection of sqlx.

use std::{future::ready, time::Duration};

use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use sea_orm::{
    DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
    sqlx::{
        self, AssertSqlSafe, Executor, Postgres,
        postgres::{PgArguments, PgRow},
        query::Query,
    },
};
use tokio::time::timeout;

use super::{
    super::statement::{Misuse, encode},
    session::Session,
    slot::PooledConnection,
    statement_admission::StatementAdmission,
    timeouts::overdue,
};

impl PooledConnection {
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let answer = query(&mut self.statements, statement)?.execute(connection);
                within(self.answer_timeout, answer).await.map(Into::into).map_err(exec_error)
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.execute(statement),
        }
    }

    pub(super) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let row = query(&mut self.statements, statement)?.fetch_optional(connection);
                let row = within(self.answer_timeout, row).await;
                row.map(|row| row.map(Into::into)).map_err(query_error)
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.query_one(statement),
        }
    }

    pub(super) async fn query_all(
        &mut self,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let rows = query(&mut self.statements, statement)?.fetch(connection);
                let rows = rows.map_ok(Into::into).try_collect();
                within(self.answer_timeout, rows).await.map_err(query_error)
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.query_all(statement),
        }
    }

    /// The rows as they arrive. The timeout applies to each of them.
    pub(super) fn stream(
        &mut self,
        statement: Statement,
    ) -> BoxStream<'_, Result<QueryResult, DbErr>> {
        match &mut self.session {
            Session::Postgres(connection) => match query(&mut self.statements, statement) {
                Ok(query) => {
                    let rows = (self.answer_timeout, query.fetch(connection));
                    stream::try_unfold(rows, next).map_ok(Into::into).map_err(query_error).boxed()
                }
                Err(misuse) => stream::once(ready(Err(misuse.into()))).boxed(),
            },
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.stream(&statement),
        }
    }

    /// Executes SQL without preparing it, in one round trip. Empty SQL is a ping.
    pub(super) async fn execute_batch(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let answer = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
                within(self.answer_timeout, answer).await.map(Into::into).map_err(exec_error)
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.execute_batch(sql),
        }
    }
}

fn query(
    statements: &mut StatementAdmission,
    statement: Statement,
) -> Result<Query<'static, Postgres, PgArguments>, Misuse> {
    let Statement { sql, values, .. } = statement;
    let values = encode(values.unwrap_or(Values(Vec::new())))?;
    let kept = statements.admits(&sql);
    Ok(sqlx::query_with(AssertSqlSafe(sql), values).persistent(kept))
}

type Rows<'a> = (Option<Duration>, BoxStream<'a, Result<PgRow, sqlx::Error>>);

async fn next((bound, mut rows): Rows<'_>) -> Result<Option<(PgRow, Rows<'_>)>, sqlx::Error> {
    let row = within(bound, rows.try_next()).await?;
    Ok(row.map(|row| (row, (bound, rows))))
}

pub(super) async fn within<T>(
    bound: Option<Duration>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match bound {
        Some(bound) => timeout(bound, answer).await.unwrap_or_else(|_| Err(overdue(bound))),
        None => answer.await,
    }
}

pub(super) fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
