use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult,
    Statement, StatementBuilder, StreamTrait, TransactionError, TransactionOptions,
    TransactionSession, TransactionTrait,
};
use tenantry_registry::{SchemaName, Slug, TenantId};

use super::{
    pool::{Executor, PoolHandle, Transaction},
    statement::Effect,
    tenant_state::TenantState,
};

/// A connection whose statements go to the schema of one tenant.
///
/// It implements SeaORM's [`ConnectionTrait`], [`TransactionTrait`] and [`StreamTrait`], so every
/// operation of SeaORM works on it unchanged, in one round trip, without any state in the session.
/// Cheap to clone. Once any process has suspended, archived or dropped the tenant, the next
/// statement on every handle is refused; so it is while the tenant's schema is not compatible with
/// this build, see [`Availability`](super::Availability).
///
/// A statement that was prepared before a migration changed the type of its result is prepared
/// again, which the caller does not notice. In a transaction and in a stream the error reaches the
/// caller, as [`DbErrorKind::StaleStatement`](crate::DbErrorKind::StaleStatement): the next attempt
/// succeeds.
///
/// ```no_run
/// # async fn example<Guard: sea_orm::EntityTrait>(
/// #     tenancy: tenantry::Tenancy,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let tenant = tenancy.tenant(&"tenant-1".parse()?).await?;
/// let guards = Guard::find().all(&tenant).await?; // … FROM "tenant_1"."guards"
/// # Ok(()) }
/// ```
pub type Tenant = TenantConnection<PoolHandle>;

/// A transaction of one tenant, whose statements go to the tenant's schema like those of a
/// [`Tenant`]. A transaction on it is a savepoint. Rolled back when dropped.
pub type TenantTransaction = TenantConnection<Transaction>;

/// A pool or a transaction that is bound to one tenant. Only [`Tenancy`](super::Tenancy) makes it;
/// see [`Tenant`] and [`TenantTransaction`].
#[derive(Clone)]
pub struct TenantConnection<C> {
    pub(super) db: C,
    pub(super) state: Arc<TenantState>,
}

impl<C> TenantConnection<C> {
    /// The id of the tenant.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.state.id
    }

    /// The slug of the tenant when it was resolved.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.state.slug
    }

    /// The schema of the tenant.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.state.schema
    }
}

impl Tenant {
    /// Begins a transaction for SQL that cannot be qualified. Until it ends, `search_path` is the
    /// tenant's schema (followed by the schemas of extensions, which have no tables, and by the
    /// session's temporary tables), so that functions and old queries with unqualified names find
    /// this tenant's tables. Takes one more round trip than [`begin`](TransactionTrait::begin).
    ///
    /// # Errors
    /// Database errors, and [`TenantUnavailable`](super::TenantUnavailable).
    pub async fn begin_with_search_path(&self) -> Result<TenantTransaction, DbErr> {
        let txn = self.begin().await?;
        let set = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT set_config('search_path', $1, true)",
            [self.db.search_path(self.schema()).into()],
        );
        // The tenant's functions may have the names of PostgreSQL's, whose effect is known.
        txn.db.execute_statement(set, Effect::Reset).await?;
        Ok(txn)
    }
}

impl TenantTransaction {
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
        match callback(&self).await {
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

impl<C> fmt::Debug for TenantConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TenantConnection").field(&self.state.slug).finish()
    }
}

#[async_trait::async_trait]
impl<C: Executor> ConnectionTrait for TenantConnection<C> {
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

impl<C: Executor> StreamTrait for TenantConnection<C> {
    type Stream<'a>
        = BoxStream<'a, Result<QueryResult, DbErr>>
    where
        C: 'a;

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
impl TransactionSession for TenantTransaction {
    async fn commit(self) -> Result<(), DbErr> {
        self.db.commit().await
    }

    async fn rollback(self) -> Result<(), DbErr> {
        self.db.rollback().await
    }
}

#[async_trait::async_trait]
impl<C: Executor> TransactionTrait for TenantConnection<C> {
    type Transaction = TenantTransaction;

    async fn begin(&self) -> Result<TenantTransaction, DbErr> {
        self.begin_with_options(TransactionOptions::default()).await
    }

    async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<TenantTransaction, DbErr> {
        let options =
            TransactionOptions { isolation_level, access_mode, sqlite_transaction_mode: None };
        self.begin_with_options(options).await
    }

    async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<TenantTransaction, DbErr> {
        self.state.check().await?;
        let db = self.db.begin_transaction(options).await?;
        Ok(TenantConnection { db, state: self.state.clone() })
    }

    async fn transaction<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c TenantTransaction,
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
                &'c TenantTransaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: fmt::Display + fmt::Debug + Send,
    {
        self.begin_with_config(isolation_level, access_mode).await?.run(callback).await
    }
}
