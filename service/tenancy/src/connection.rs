//! Connections and transactions that are bound to the tables of one tenant, or to the shared ones.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult,
    Statement, StatementBuilder, StreamTrait, TransactionError, TransactionOptions,
    TransactionSession, TransactionTrait,
};

use super::{
    pool::{Executor, Transaction},
    statement::Analysis,
    statement_epoch::Epoch,
};

/// The tables to which a connection is bound: checks its statements before they are sent.
pub trait Binding: Send + Sync {
    /// The tenant's slug, or another name for `Debug`.
    fn name(&self) -> &str;

    /// Refuses if the tables are not available.
    fn check(&self) -> impl Future<Output = Result<(), DbErr>> + Send;

    /// SQL as it is sent, and what it does to the session.
    fn qualify_sql<'a>(
        &self,
        sql: &'a str,
    ) -> impl Future<Output = Result<(Cow<'a, str>, Analysis), DbErr>> + Send;

    /// The epoch of its statements.
    fn epoch(&self) -> &Epoch;

    /// The reason of a statement's error if it is known, else the error.
    fn recheck(&self, error: DbErr) -> impl Future<Output = DbErr> + Send;
}

/// A pool or a transaction that is bound to the tables of one tenant, or to the shared ones. Only
/// [`Tenancy`](super::Tenancy) makes it; see [`Tenant`](super::Tenant) and
/// [`Shared`](super::Shared).
pub struct BoundConnection<C, B> {
    pub(super) db: C,
    pub(super) state: Arc<B>,
}

impl<C: Clone, B> Clone for BoundConnection<C, B> {
    fn clone(&self) -> Self {
        Self { db: self.db.clone(), state: Arc::clone(&self.state) }
    }
}

impl<B> BoundConnection<Transaction, B> {
    /// Sets the timeout of each of the following statements of the transaction, in place of
    /// [`Config::statement_timeout`](super::Config::statement_timeout); `None` for no timeout. For a
    /// report, a long stream or a change of many rows.
    ///
    /// # Errors
    /// Database errors.
    pub async fn set_statement_timeout(&self, timeout: Option<Duration>) -> Result<(), DbErr> {
        self.db.set_statement_timeout(timeout).await
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// Database errors.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.db.commit().await
    }

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// Database errors.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.db.rollback().await
    }

    /// Runs `callback`, then commits if it succeeded and rolls back otherwise.
    async fn run<F, T, E>(self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: fmt::Display + fmt::Debug + Send,
    {
        let result = callback(&self).await;
        self.end_with(result).await
    }

    /// Commits if `result` is a success and rolls back otherwise.
    pub(super) async fn end_with<T, E>(self, result: Result<T, E>) -> Result<T, TransactionError<E>>
    where
        E: fmt::Display + fmt::Debug,
    {
        match result {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(error) => {
                self.rollback().await?;
                Err(TransactionError::Transaction(error))
            }
        }
    }
}

impl<C, B: Binding> fmt::Debug for BoundConnection<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoundConnection").field(&self.state.name()).finish()
    }
}

#[async_trait::async_trait]
impl<C: Executor, B: Binding> ConnectionTrait for BoundConnection<C, B> {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.send_raw(statement, |statement, effect| self.db.execute_statement(statement, effect))
            .await
    }

    async fn execute<S: StatementBuilder>(&self, statement: &S) -> Result<ExecResult, DbErr> {
        self.send_built(statement, |statement, effect| self.db.execute_statement(statement, effect))
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.send_batch(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.send_raw(statement, |statement, effect| self.db.fetch_optional(statement, effect))
            .await
    }

    async fn query_one<S: StatementBuilder>(
        &self,
        statement: &S,
    ) -> Result<Option<QueryResult>, DbErr> {
        self.send_built(statement, |statement, effect| self.db.fetch_optional(statement, effect))
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.send_raw(statement, |statement, effect| self.db.fetch_all(statement, effect)).await
    }

    async fn query_all<S: StatementBuilder>(
        &self,
        statement: &S,
    ) -> Result<Vec<QueryResult>, DbErr> {
        self.send_built(statement, |statement, effect| self.db.fetch_all(statement, effect)).await
    }
}

impl<C: Executor, B: Binding> StreamTrait for BoundConnection<C, B> {
    type Stream<'a>
        = BoxStream<'a, Result<QueryResult, DbErr>>
    where
        C: 'a,
        B: 'a;

    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(self.open(statement))
    }
}

#[async_trait::async_trait]
impl<B: Binding> TransactionSession for BoundConnection<Transaction, B> {
    async fn commit(self) -> Result<(), DbErr> {
        self.db.commit().await
    }

    async fn rollback(self) -> Result<(), DbErr> {
        self.db.rollback().await
    }
}

#[async_trait::async_trait]
impl<C: Executor, B: Binding> TransactionTrait for BoundConnection<C, B> {
    type Transaction = BoundConnection<Transaction, B>;

    async fn begin(&self) -> Result<Self::Transaction, DbErr> {
        self.begin_with_options(TransactionOptions::default()).await
    }

    async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<Self::Transaction, DbErr> {
        let options =
            TransactionOptions { isolation_level, access_mode, sqlite_transaction_mode: None };
        self.begin_with_options(options).await
    }

    async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<Self::Transaction, DbErr> {
        self.state.check().await?;
        let db = self.db.begin_transaction(options).await?;
        Ok(BoundConnection { db, state: Arc::clone(&self.state) })
    }

    async fn transaction<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c Self::Transaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: fmt::Display + fmt::Debug + Send,
    {
        self.begin().await?.run(callback).await
    }

    async fn transaction_with_config<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c Self::Transaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: fmt::Display + fmt::Debug + Send,
    {
        self.begin_with_config(isolation_level, access_mode).await?.run(callback).await
    }
}
