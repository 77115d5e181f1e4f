//! Methods that SeaORM's `DatabaseConnection` and `DatabaseTransaction` have besides those of its
//! traits.

use std::fmt;

use sea_orm::{
    AccessMode, DbBackend, DbErr, IsolationLevel, Schema, SchemaBuilder, TransactionError,
    TransactionTrait,
};

use super::{
    connection::{Binding, BoundConnection},
    pool::{Executor, PoolHandle, Transaction},
};

impl<C: Executor, B: Binding> BoundConnection<C, B> {
    /// The kind of the database: PostgreSQL. As a method of the type, it is found where
    /// `ConnectionTrait` and `StreamTrait` are both in scope, which have one of this name.
    #[must_use]
    pub fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    /// A builder of tables from entities, as SeaORM's connections have it. Tables of a tenant are
    /// better created by migrations, which every tenant gets.
    #[must_use]
    pub fn get_schema_builder(&self) -> SchemaBuilder {
        Schema::new(DbBackend::Postgres).builder()
    }

    /// Runs an async closure in a transaction, or in a savepoint of this one, which is committed if
    /// it returns `Ok` and rolled back otherwise.
    ///
    /// ```
    /// # use sea_orm::{ConnectionTrait, DbErr, TransactionError};
    /// # async fn example(tenant: &tenantry::Tenant) -> Result<(), TransactionError<DbErr>> {
    /// tenant
    ///     .transaction_async(async |txn| {
    ///         txn.execute_unprepared(r#"DELETE FROM "@tenant"."books""#).await?;
    ///         Ok::<_, DbErr>(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of `callback`, or that of the connection.
    pub async fn transaction_async<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c BoundConnection<Transaction, B>) -> Result<T, E> + Send,
        T: Send,
        E: fmt::Display + fmt::Debug + Send,
    {
        let txn = self.begin().await?;
        let result = callback(&txn).await;
        txn.end_with(result).await
    }

    /// [`transaction_async`](Self::transaction_async) with an isolation level and an access mode.
    ///
    /// # Errors
    /// As for [`transaction_async`](Self::transaction_async).
    pub async fn transaction_with_config_async<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c BoundConnection<Transaction, B>) -> Result<T, E> + Send,
        T: Send,
        E: fmt::Display + fmt::Debug + Send,
    {
        let txn = self.begin_with_config(isolation_level, access_mode).await?;
        let result = callback(&txn).await;
        txn.end_with(result).await
    }
}

impl<B: Binding> BoundConnection<PoolHandle, B> {
    /// Checks that the tenant is available and that a connection answers.
    ///
    /// # Errors
    /// Database errors, and [`TenantUnavailable`](super::TenantUnavailable).
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.send_batch("").await.map(drop)
    }
}
