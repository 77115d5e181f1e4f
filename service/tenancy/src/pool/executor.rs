use futures_util::stream::BoxStream;
use sea_orm::{DbErr, ExecResult, QueryResult, TransactionOptions};

use super::{
    super::statement::{Analysis, Effect, Misuse, QualifiedStatement},
    Transaction,
};

/// Executes statements of a tenant, each with its effect on the session.
pub trait Executor: Send + Sync {
    /// Whether a statement that the server has not received may be sent again. False in a
    /// transaction, which the loss of the connection has rolled back.
    const CAN_RETRY: bool;

    /// The effect of a statement on the session, or its refusal: through a pooler, nothing may stay
    /// in a session.
    fn permit(&self, analysis: Analysis) -> Result<Effect, Misuse>;

    /// Begins a transaction, or a savepoint in one.
    fn begin_transaction(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<Transaction, DbErr>> + Send;

    /// Executes a prepared statement.
    fn execute_statement(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> impl Future<Output = Result<ExecResult, DbErr>> + Send;

    /// Executes one or more statements without preparing them.
    fn execute_batch(
        &self,
        sql: &str,
        effect: Effect,
    ) -> impl Future<Output = Result<ExecResult, DbErr>> + Send;

    /// Returns the first row.
    fn fetch_optional(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> impl Future<Output = Result<Option<QueryResult>, DbErr>> + Send;

    /// Returns all rows.
    fn fetch_all(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> impl Future<Output = Result<Vec<QueryResult>, DbErr>> + Send;

    /// Returns the rows as they arrive.
    fn fetch_stream(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> impl Future<Output = Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr>> + Send;
}
