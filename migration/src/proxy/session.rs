use std::borrow::Cow;

use futures_util::TryStreamExt;
use sea_orm::{
    DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Value, Values,
    sqlx::{
        self, AssertSqlSafe, Connection, Executor, PgConnection, Row,
        postgres::{PgConnectOptions, PgRow},
    },
};
use sea_query_sqlx::SqlxValues;

use super::{Backend, in_one, is_plain, rows_affected};
use crate::{
    Fault, Target,
    sql::{Piece, replace_placeholder},
};

/// A connection of its own for a migration that runs outside a transaction. It never connects
/// again, as nothing that was set in the session would be there.
pub(crate) struct OwnSession {
    connection: PgConnection,
    schema: String,
    open: usize,
}

impl OwnSession {
    pub(crate) async fn open(options: &PgConnectOptions, target: &Target) -> Result<Self, DbErr> {
        let connection = PgConnection::connect_with(options).await.map_err(connection_error)?;
        Ok(Self { connection, schema: target.quoted(), open: 0 })
    }

    /// The rows of a statement that is sent as text, which every pooler understands.
    pub(crate) async fn send<const N: usize>(
        &mut self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<PgRow>, DbErr> {
        let text = match N {
            0 => sql.to_owned(),
            _ => Statement::from_sql_and_values(DbBackend::Postgres, sql, values).to_string(),
        };
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut self.connection).await;
        rows.map_err(query_error)
    }

    /// The texts in the first row that a statement returns.
    pub(crate) async fn texts<const N: usize>(
        &mut self,
        sql: &str,
    ) -> Result<[Option<String>; N], DbErr> {
        let rows = self.send(sql, []).await?;
        let mut texts = [const { None }; N];
        if let Some(row) = rows.first() {
            for (index, text) in texts.iter_mut().enumerate() {
                *text = row.try_get(index).map_err(query_error)?;
            }
        }
        Ok(texts)
    }

    /// Closes the connection in good order. What it was made for is done by then.
    pub(crate) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection of a migration was not closed in good order");
        }
    }

    async fn execute_text(&mut self, sql: &str) -> Result<u64, DbErr> {
        let sent = (&mut self.connection).execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        Ok(sent.map_err(exec_error)?.rows_affected())
    }

    /// PostgreSQL makes one transaction of a text with several statements, as long as it can be
    /// one. Otherwise they are sent one by one.
    async fn execute_plain(&mut self, sql: &str) -> Result<u64, DbErr> {
        let pieces = Piece::all(sql);
        if self.open > 0 || pieces.len() < 2 {
            return self.execute_text(sql).await;
        }
        if in_one(sql).is_none() {
            match self.execute_text(sql).await {
                Err(error) if Fault::sqlstate(&error).as_deref() == Some(IN_TRANSACTION) => {}
                sent => return sent,
            }
        }
        let mut rows = 0;
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            rows += self.execute_text(&piece.sql).await?;
        }
        Ok(rows)
    }

    fn qualified<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        replace_placeholder(sql, &self.schema)
    }
}

/// SQLSTATE of a statement that cannot run in a transaction.
const IN_TRANSACTION: &str = "25001";

impl Backend for OwnSession {
    async fn query(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let sql = self.qualified(&statement.sql).into_owned();
        let values = SqlxValues(statement.values.unwrap_or(Values(Vec::new())));
        let rows = sqlx::query_with(AssertSqlSafe(sql), values).fetch(&mut self.connection);
        rows.map_ok(Into::into).try_collect().await.map_err(query_error)
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let sql = self.qualified(&statement.sql).into_owned();
        if is_plain(&statement) {
            return self.execute_plain(&sql).await.map(rows_affected);
        }
        let values = SqlxValues(statement.values.unwrap_or(Values(Vec::new())));
        let query = sqlx::query_with(AssertSqlSafe(sql), values);
        query.execute(&mut self.connection).await.map(Into::into).map_err(exec_error)
    }

    async fn begin(&mut self) -> Result<(), DbErr> {
        let sql = match self.open {
            0 => "BEGIN".to_owned(),
            depth => format!("SAVEPOINT tenantry_{depth}"),
        };
        self.execute_text(&sql).await?;
        self.open += 1;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        self.open -= 1;
        let sql = match self.open {
            0 => "COMMIT".to_owned(),
            depth => format!("RELEASE SAVEPOINT tenantry_{depth}"),
        };
        self.execute_text(&sql).await.map(drop)
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        self.open -= 1;
        let sql = match self.open {
            0 => "ROLLBACK".to_owned(),
            n => format!("ROLLBACK TO SAVEPOINT tenantry_{n}; RELEASE SAVEPOINT tenantry_{n}"),
        };
        self.execute_text(&sql).await.map(drop)
    }
}

fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
