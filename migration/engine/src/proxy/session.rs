use std::{borrow::Cow, time::Duration};

use futures_util::TryStreamExt;
use sea_orm::{
    DbErr, ExecResult, QueryResult, Statement, Value, Values,
    sqlx::{
        self, AssertSqlSafe, Connection, Executor, PgConnection, Row,
        postgres::{PgConnectOptions, PgRow},
    },
};
use sea_query_sqlx::SqlxValues;

use super::{Backend, has_no_values, rows_affected, without_non_transactional};
use crate::{
    DbErrorKind, Target,
    connect::{Opening, is_shared},
    db_error::{connection_error, exec_error, query_error},
    sql::{SqlStatement, query::statement, replace_placeholder},
};

/// Time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connection of a non-transactional migration. It does not reconnect, because a new session would
/// lack the settings.
pub(crate) struct OwnSession {
    connection: PgConnection,
    schema: String,
    /// Open transactions and savepoints of the migration.
    open: usize,
    lock_timeouts: Option<LockTimeouts>,
    /// Indexes that the migration creates with `IF NOT EXISTS`.
    pub(crate) wanted: Vec<String>,
}

struct LockTimeouts {
    /// The session's setting, as `current_setting` returns it.
    session: String,
    /// For a statement with `CONCURRENTLY`.
    concurrently: String,
}

impl OwnSession {
    pub(crate) async fn open(options: &PgConnectOptions, target: &Target) -> Result<Self, DbErr> {
        let opening = Opening::within(CONNECT_TIMEOUT);
        let mut connection = opening.connect(options).await.map_err(connection_error)?;
        let first = sqlx::raw_sql("SELECT 1").execute(&mut connection);
        opening.first(first).await.map_err(connection_error)?;
        let (schema, wanted) = (target.quoted(), Vec::new());
        Ok(Self { connection, schema, open: 0, lock_timeouts: None, wanted })
    }

    /// The PID of the server process.
    pub(crate) async fn pid(&mut self) -> Result<i32, DbErr> {
        let [pid] = self.texts("SELECT pg_backend_pid()::text", []).await?;
        let pid = pid.and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| DbErr::Custom("the server did not return a PID".to_owned()))
    }

    /// Whether other connections use the same session. Sets `tenantry.session` to `mark`.
    pub(crate) async fn is_shared(
        &mut self,
        mark: &str,
        options: &PgConnectOptions,
    ) -> Result<bool, DbErr> {
        is_shared(&mut self.connection, mark, options).await.map_err(query_error)
    }

    /// Returns the rows of a statement, sent with the simple query protocol, which every pooler
    /// supports.
    pub(crate) async fn send<const N: usize>(
        &mut self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<PgRow>, DbErr> {
        let sql = match N {
            0 => sql.to_owned(),
            _ => statement(sql, values).to_string(),
        };
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await;
        rows.map_err(query_error)
    }

    /// The columns of the first row.
    pub(crate) async fn texts<const N: usize, const VALUES: usize>(
        &mut self,
        sql: &str,
        values: [Value; VALUES],
    ) -> Result<[Option<String>; N], DbErr> {
        let rows = self.send(sql, values).await?;
        let mut texts = [const { None }; N];
        if let Some(row) = rows.first() {
            for (index, text) in texts.iter_mut().enumerate() {
                *text = row.try_get(index).map_err(query_error)?;
            }
        }
        Ok(texts)
    }

    /// The first column of every row.
    pub(crate) async fn column<const N: usize>(
        &mut self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<String>, DbErr> {
        let rows = self.send(sql, values).await?;
        rows.iter().map(|row| row.try_get(0).map_err(query_error)).collect()
    }

    pub(crate) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection of a migration was not closed cleanly");
        }
    }

    /// Sets the lock timeout of statements with `CONCURRENTLY`, in milliseconds, unless the
    /// migration sets `lock_timeout` itself. They wait for transactions to end, and no other
    /// statement waits behind them.
    pub(crate) async fn set_concurrently_timeout(
        &mut self,
        concurrently: String,
    ) -> Result<(), DbErr> {
        let [session] = self.texts("SELECT current_setting('lock_timeout')", []).await?;
        self.lock_timeouts = session.map(|session| LockTimeouts { session, concurrently });
        Ok(())
    }

    /// Sets the lock timeout for a statement with `CONCURRENTLY`. Returns whether it did.
    async fn prepare(&mut self, statement: &SqlStatement) -> Result<bool, DbErr> {
        let Some(at) = statement.concurrently().filter(|_| self.open == 0) else {
            return Ok(false);
        };
        if statement.starts_with(&["create"]) && statement.word(at + 1) == Some("if") {
            self.wanted.extend(statement.name(at + 4).map(str::to_owned));
        }
        let Some(LockTimeouts { session, concurrently }) = &self.lock_timeouts else {
            return Ok(false);
        };
        let values = [concurrently.clone().into(), session.clone().into()];
        let set = "SELECT set_config('lock_timeout', $1, false)
                   WHERE current_setting('lock_timeout') = $2";
        Ok(!self.send(set, values).await?.is_empty())
    }

    pub(crate) async fn execute_text(&mut self, sql: &str) -> Result<u64, DbErr> {
        let changed = self.prepare(&SqlStatement::one(sql)).await?;
        let sent = (&mut self.connection).execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        let sent = sent.map(|done| done.rows_affected()).map_err(exec_error);
        if changed && let Some(LockTimeouts { session, .. }) = &self.lock_timeouts {
            let set = "SELECT set_config('lock_timeout', $1, false)";
            let restored = self.send(set, [session.clone().into()]).await;
            return sent.and_then(|rows| restored.map(|_| rows));
        }
        sent
    }

    /// PostgreSQL runs several statements in one query as one transaction. If one of them cannot run
    /// in a transaction, they are sent one by one.
    async fn execute_plain(&mut self, sql: &str) -> Result<u64, DbErr> {
        let statements = SqlStatement::split(sql);
        if self.open > 0 || statements.len() < 2 {
            return self.execute_text(sql).await;
        }
        if without_non_transactional(sql).is_none() {
            match self.execute_text(sql).await {
                Err(error)
                    if DbErrorKind::sqlstate(&error)
                        .is_some_and(|it| IN_TRANSACTION.contains(&&*it)) => {}
                sent => return sent,
            }
        }
        let mut rows = 0;
        for statement in statements.into_iter().filter(|statement| !statement.is_empty()) {
            rows += self.execute_text(&statement.sql).await?;
        }
        Ok(rows)
    }

    fn qualified<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        replace_placeholder(sql, &self.schema)
    }
}

/// SQLSTATEs of a statement that cannot run in a transaction, and of a block that ends one.
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
        if has_no_values(&statement) {
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
