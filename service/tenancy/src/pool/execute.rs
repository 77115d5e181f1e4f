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

use super::{
    super::statement::{Misuse, QualifiedStatement, encode},
    session::Session,
    slot::PooledConnection,
    statement_choice::Sending,
    timeouts::within,
};

impl PooledConnection {
    pub(super) async fn execute(
        &mut self,
        statement: QualifiedStatement,
    ) -> Result<ExecResult, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let (is_kept, lesson) = match self.statements.choose(&statement, false) {
                    Sending::Literals(sql) => {
                        let answer = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
                        let answer = within(self.answer_timeout, answer).await;
                        return answer.map(Into::into).map_err(exec_error);
                    }
                    Sending::Prepared { is_kept, lesson } => (is_kept, lesson),
                };
                let answer = query(statement.statement, is_kept)?.execute(connection);
                let answer = within(self.answer_timeout, answer).await.map_err(exec_error)?;
                if let Some(lesson) = lesson {
                    self.statements.learn(lesson, None);
                }
                Ok(answer.into())
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.execute(statement.statement),
        }
    }

    pub(super) async fn query_one(
        &mut self,
        statement: QualifiedStatement,
    ) -> Result<Option<QueryResult>, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let (is_kept, lesson) = match self.statements.choose(&statement, true) {
                    Sending::Prepared { is_kept, lesson } => (is_kept, lesson),
                    Sending::Literals(sql) => {
                        let row = connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql)));
                        // Boxed, so that a statement that is kept does not carry its state.
                        let row = Box::pin(within(self.answer_timeout, row));
                        let row = row.await.map_err(query_error)?;
                        if self.statements.is_exact(row.as_slice(), statement.shape()) {
                            return Ok(row.map(Into::into));
                        }
                        (self.statements.needs_name(), None)
                    }
                };
                let row = query(statement.statement, is_kept)?.fetch_optional(connection);
                let row = within(self.answer_timeout, row).await.map_err(query_error)?;
                if let Some(lesson) = lesson {
                    self.statements.learn(lesson, row.as_ref());
                }
                Ok(row.map(Into::into))
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.query_one(statement.statement),
        }
    }

    pub(super) async fn query_all(
        &mut self,
        statement: QualifiedStatement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let (is_kept, lesson) = match self.statements.choose(&statement, true) {
                    Sending::Prepared { is_kept, lesson } => (is_kept, lesson),
                    Sending::Literals(sql) => {
                        let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql)));
                        let rows = Box::pin(within(self.answer_timeout, rows));
                        let rows = rows.await.map_err(query_error)?;
                        if self.statements.is_exact(&rows, statement.shape()) {
                            return Ok(rows.into_iter().map(Into::into).collect());
                        }
                        (self.statements.needs_name(), None)
                    }
                };
                let rows = query(statement.statement, is_kept)?.fetch(connection);
                let rows = rows.map_ok(Into::into).try_collect();
                let rows: Vec<QueryResult> =
                    within(self.answer_timeout, rows).await.map_err(query_error)?;
                if let Some(lesson) = lesson {
                    let first = rows.first().and_then(QueryResult::try_as_pg_row);
                    self.statements.learn(lesson, first);
                }
                Ok(rows)
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.query_all(statement.statement),
        }
    }

    /// The rows as they arrive. The timeout applies to each of them.
    pub(super) fn stream(
        &mut self,
        statement: Statement,
    ) -> BoxStream<'_, Result<QueryResult, DbErr>> {
        match &mut self.session {
            Session::Postgres(connection) => {
                let is_kept = self.statements.keeps(&statement.sql);
                match query(statement, is_kept) {
                    Ok(query) => {
                        let rows = (self.answer_timeout, query.fetch(connection));
                        stream::try_unfold(rows, next)
                            .map_ok(Into::into)
                            .map_err(query_error)
                            .boxed()
                    }
                    Err(misuse) => stream::once(ready(Err(misuse.into()))).boxed(),
                }
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.stream(&statement),
        }
    }

    /// Executes SQL without preparing it, in one round trip. Empty SQL is a ping.
    pub(super) async fn execute_batch(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        match &mut self.session {
            Session::Postgres(connection) => {
                if !sql.is_empty() {
                    self.statements.count_batch(sql);
                }
                let answer = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
                within(self.answer_timeout, answer).await.map(Into::into).map_err(exec_error)
            }
            #[cfg(feature = "testing")]
            Session::Mock(mock) => mock.execute_batch(sql),
        }
    }
}

fn query(
    statement: Statement,
    is_kept: bool,
) -> Result<Query<'static, Postgres, PgArguments>, Misuse> {
    let Statement { sql, values, .. } = statement;
    let values = encode(values.unwrap_or(Values(Vec::new())))?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), values).persistent(is_kept))
}

type Rows<'a> = (Option<Duration>, BoxStream<'a, Result<PgRow, sqlx::Error>>);

async fn next((bound, mut rows): Rows<'_>) -> Result<Option<(PgRow, Rows<'_>)>, sqlx::Error> {
    let row = within(bound, rows.try_next()).await?;
    Ok(row.map(|row| (row, (bound, rows))))
}

pub(super) fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
