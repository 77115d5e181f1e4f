use futures_util::stream::BoxStream;
use sea_orm::{DbErr, ExecResult, QueryResult, Statement, TransactionOptions};

use super::{super::statement::Effect, Transaction};

/// What the statements of a tenant can be sent on, each with what it does to the session.
pub trait Session: Send + Sync {
    /// Whether a statement may be sent once more that the server has done nothing for. Not where
    /// that has ended a transaction.
    const RESENDS: bool;

    /// Begins a transaction, or a savepoint in one.
    fn start(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<Transaction, DbErr>> + Send;

    /// Sends a statement.
    fn run(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> impl Future<Output = Result<ExecResult, DbErr>> + Send;

    /// Sends a text that is not prepared.
    fn send(
        &self,
        sql: &str,
        effect: Effect,
    ) -> impl Future<Output = Result<ExecResult, DbErr>> + Send;

    /// The first row.
    fn first_row(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> impl Future<Output = Result<Option<QueryResult>, DbErr>> + Send;

    /// All rows.
    fn all_rows(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> impl Future<Output = Result<Vec<QueryResult>, DbErr>> + Send;

    /// The rows as they come.
    fn stream(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> impl Future<Output = Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr>> + Send;
}
