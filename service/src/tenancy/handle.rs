use std::{fmt, future::Future, pin::Pin, sync::Arc};

use entity::registry::{SchemaName, Slug, TenantId};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, IsolationLevel,
    QueryResult, QueryStream, Statement, StreamTrait, TransactionError, TransactionOptions,
    TransactionTrait,
};

use super::{TenantTransaction, shared::Shared};

/// One tenant's database: a connection whose every statement goes to the tenant's schema.
///
/// It implements SeaORM's [`ConnectionTrait`], [`TransactionTrait`] and [`StreamTrait`], so every
/// operation of SeaORM works on it unchanged, in one round trip, without any state in the session.
/// Cheap to clone. Once the tenant is suspended, archived or dropped – by whatever process – the
/// next statement on any handle is refused.
///
/// ```no_run
/// # async fn example(tenancy: service::tenancy::Tenancy) -> Result<(), Box<dyn std::error::Error>> {
/// use entity::tenant::guard;
/// use sea_orm::EntityTrait;
///
/// let tenant = tenancy.tenant(&"tenant-1".parse()?).await?;
/// let guards = guard::Entity::find().all(&tenant).await?; // … FROM "tenant_1"."guards"
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tenant {
    pub(super) db: DatabaseConnection,
    pub(super) shared: Arc<Shared>,
}

impl Tenant {
    /// Key of the tenant.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.shared.id
    }

    /// Name of the tenant when the handle was made.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.shared.slug
    }

    /// Schema of the tenant's tables.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.shared.schema
    }

    /// A transaction for SQL that cannot be qualified: `search_path` is exactly the tenant's
    /// schema until the transaction ends, so functions and old queries that name bare tables find
    /// this tenant's. Costs one more round trip than [`begin`](TransactionTrait::begin).
    ///
    /// # Errors
    /// The errors of the database, and a refusal when the tenant is not active.
    pub async fn begin_with_search_path(&self) -> Result<TenantTransaction, DbErr> {
        let txn = self.begin().await?;
        let set = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT set_config('search_path', $1, true)",
            [self.shared.quoted.clone().into()],
        );
        txn.execute_raw(set).await?;
        Ok(txn)
    }

    fn scoped(&self, txn: sea_orm::DatabaseTransaction) -> TenantTransaction {
        TenantTransaction { txn, shared: Arc::clone(&self.shared) }
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenant").field(&self.shared.slug).finish()
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Tenant {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.db.execute_raw(self.shared.qualify(statement)?).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.db.execute_unprepared(&self.shared.qualify_text(sql)?).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.db.query_one_raw(self.shared.qualify(statement)?).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.db.query_all_raw(self.shared.qualify(statement)?).await
    }
}

impl StreamTrait for Tenant {
    type Stream<'a> = QueryStream;

    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<QueryStream, DbErr>> + 'a + Send>> {
        Box::pin(async move { self.db.stream_raw(self.shared.qualify(statement)?).await })
    }
}

#[async_trait::async_trait]
impl TransactionTrait for Tenant {
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
        self.shared.check()?;
        Ok(self.scoped(self.db.begin_with_options(options).await?))
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
