use std::{borrow::Cow, time::Duration};

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
    DbErrorKind, Target,
    connect::{Opening, is_shared},
    sql::{SqlStatement, replace_placeholder},
};

/// How long opening one may take.
const OPENED_WITHIN: Duration = Duration::from_secs(10);

/// A connection of its own for a migration that runs outside a transaction. It never connects
/// again, as nothing that was set in the session would be there.
pub(crate) struct OwnSession {
    connection: PgConnection,
    schema: String,
    open: usize,
    patience: Option<Patience>,
    /// Indexes that are to be made unless they exist.
    pub(crate) wanted: Vec<String>,
}

/// How long locks are waited for.
struct Patience {
    /// What the session is set to, as `current_setting` has it.
    usual: String,
    /// For a statement with `CONCURRENTLY`.
    concurrently: String,
}

impl OwnSession {
    pub(crate) async fn open(options: &PgConnectOptions, target: &Target) -> Result<Self, DbErr> {
        let opening = Opening::within(OPENED_WITHIN);
        let mut connection = opening.connect(options).await.map_err(connection_error)?;
        let first = sqlx::raw_sql("SELECT 1").execute(&mut connection);
        opening.first(first).await.map_err(connection_error)?;
        let (schema, wanted) = (target.quoted(), Vec::new());
        Ok(Self { connection, schema, open: 0, patience: None, wanted })
    }

    /// The server process behind it.
    pub(crate) async fn pid(&mut self) -> Result<i32, DbErr> {
        let [pid] = self.texts("SELECT pg_backend_pid()::text").await?;
        let pid = pid.and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| DbErr::Custom("the server does not say which process it is".to_owned()))
    }

    /// Whether other connections are given the same session, too. It has `mark` in its setting
    /// `tenantry.session` afterwards.
    pub(crate) async fn is_shared(
        &mut self,
        mark: &str,
        options: &PgConnectOptions,
    ) -> Result<bool, DbErr> {
        is_shared(&mut self.connection, mark, options).await.map_err(query_error)
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

    /// Lets statements with `CONCURRENTLY` wait for locks so many milliseconds, as long as the
    /// migration does not set `lock_timeout` itself: what they wait for is the end of transactions,
    /// and nobody waits behind them.
    pub(crate) async fn be_patient(&mut self, concurrently: String) -> Result<(), DbErr> {
        let [usual] = self.texts("SELECT current_setting('lock_timeout')").await?;
        self.patience = usual.map(|usual| Patience { usual, concurrently });
        Ok(())
    }

    /// Whether the timeout for locks was changed for this statement.
    async fn prepare(&mut self, piece: &SqlStatement) -> Result<bool, DbErr> {
        let Some(at) = piece.concurrently().filter(|_| self.open == 0) else { return Ok(false) };
        if piece.starts_with(&["create"]) && piece.word(at + 1) == Some("if") {
            self.wanted.extend(piece.name(at + 4).map(str::to_owned));
        }
        let Some(Patience { usual, concurrently }) = &self.patience else { return Ok(false) };
        let values = [concurrently.clone().into(), usual.clone().into()];
        let set = "SELECT set_config('lock_timeout', $1, false)
                   WHERE current_setting('lock_timeout') = $2";
        Ok(!self.send(set, values).await?.is_empty())
    }

    pub(crate) async fn execute_text(&mut self, sql: &str) -> Result<u64, DbErr> {
        let piece = SqlStatement::one(sql);
        let patient = self.prepare(&piece).await?;
        let sent = (&mut self.connection).execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        let sent = sent.map(|done| done.rows_affected()).map_err(exec_error);
        if patient && let Some(Patience { usual, .. }) = &self.patience {
            let set = "SELECT set_config('lock_timeout', $1, false)";
            let restored = self.send(set, [usual.clone().into()]).await;
            return sent.and_then(|rows| restored.map(|_| rows));
        }
        sent
    }

    /// PostgreSQL makes one transaction of a text with several statements, as long as it can be
    /// one. Otherwise they are sent one by one.
    async fn execute_plain(&mut self, sql: &str) -> Result<u64, DbErr> {
        let pieces = SqlStatement::split(sql);
        if self.open > 0 || pieces.len() < 2 {
            return self.execute_text(sql).await;
        }
        if in_one(sql).is_none() {
            match self.execute_text(sql).await {
                Err(error)
                    if DbErrorKind::sqlstate(&error)
                        .is_some_and(|it| IN_TRANSACTION.contains(&&*it)) => {}
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

/// SQLSTATE of a statement that cannot run in a transaction, and of a block that ends it.
const IN_TRANSACTION: [&str; 2] = ["25001", "2D000"];

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
