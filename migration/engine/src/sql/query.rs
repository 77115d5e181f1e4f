//! Sending SQL to a database, and reading columns of its answer.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, TryGetable, Value};

/// A statement with `$1`, `$2`, … and their values.
pub(crate) fn statement(
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// The first column of the first row; `None` without a row, or if it is NULL.
pub(crate) async fn scalar<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<T>, DbErr> {
    let row = db.query_one_raw(statement(sql, values)).await?;
    row.map_or(Ok(None), |row| row.try_get_by_index(0))
}

/// The first column of every row.
pub(crate) async fn column<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, DbErr> {
    rows(db, sql, values).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// All rows.
pub(crate) async fn rows(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(statement(sql, values)).await
}

/// Executes a statement.
pub(crate) async fn execute(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<(), DbErr> {
    db.execute_raw(statement(sql, values)).await.map(drop)
}

/// Sends statements without parameters as one batch.
#[expect(
    clippy::disallowed_methods,
    reason = "identifiers come from a SchemaName or were quoted by PostgreSQL, values by SeaORM"
)]
pub(crate) async fn execute_batch(db: &impl ConnectionTrait, sql: &str) -> Result<(), DbErr> {
    db.execute_unprepared(sql).await.map(drop)
}
