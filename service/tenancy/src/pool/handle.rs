use std::{sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions,
};
use tenantry_registry::SchemaName;

use super::{
    super::statement::{Analysis, Effect, Misuse, QualifiedStatement, outside_transaction},
    Executor, TenantPool, Transaction, WriteAccess,
    affinity::{SHARED, affinity_key},
    checkout::Checkout,
    read_only,
    request::{Owner, Request, Usage},
    stream::row_stream,
    timeouts::is_broken,
};
use crate::{limits::Limits, tenant_state::TenantState};

const WRITE_ACCESS: &str =
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";

/// The pool as one user sees it. Each statement takes a connection for as long as it runs. Cheap to
/// clone.
#[derive(Clone)]
pub struct PoolHandle {
    pool: Arc<TenantPool>,
    user: PoolUser,
}

#[derive(Clone)]
pub(super) enum PoolUser {
    Tenant(Arc<TenantState>),
    /// The same for work that visits all tenants.
    Background(Arc<TenantState>),
    /// Shared tables.
    Shared,
    /// Queries of the registry.
    Registry,
    /// Creations, drops and spares.
    Lifecycle,
}

impl PoolHandle {
    pub(super) fn new(pool: Arc<TenantPool>, user: PoolUser) -> Self {
        Self { pool, user }
    }

    /// Begins a transaction with the server's defaults.
    pub(in super::super) async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_transaction(TransactionOptions::default()).await
    }

    /// Begins a transaction that creates or drops a schema, as the owner of schemas.
    pub(in super::super) async fn begin_for_ddl(&self) -> Result<Transaction, DbErr> {
        Transaction::begin_for_ddl(self.checkout_as_owner().await?).await
    }

    /// Begins a transaction in which migrations may run, and which they may commit, as the owner of
    /// schemas.
    pub(in super::super) async fn begin_for_migrations(&self) -> Result<Transaction, DbErr> {
        Transaction::begin_for_migrations(self.checkout_as_owner().await?).await
    }

    pub(in super::super) fn pool(&self) -> &Arc<TenantPool> {
        &self.pool
    }

    async fn checkout_as_owner(&self) -> Result<Checkout, DbErr> {
        let pool = self.pool.owner().of(self).await?;
        Self::new(pool, self.user.clone()).checkout(Usage::OpenEnded).await
    }

    /// Begins a transaction that reads all rows of a tenant from one snapshot. If a separate role
    /// owns the tables, as that role: policies of row level security do not hide rows from it.
    pub(in super::super) async fn begin_snapshot(&self) -> Result<Transaction, DbErr> {
        let checkout = match self.pool.owner().pool() {
            Some(_) => self.checkout_as_owner().await?,
            None => self.checkout(Usage::OpenEnded).await?,
        };
        Transaction::begin_for_copy(checkout, true).await
    }

    /// Begins a transaction that creates a tenant and copies rows into it, as the owner of schemas.
    pub(in super::super) async fn begin_for_copy(&self) -> Result<Transaction, DbErr> {
        Transaction::begin_for_copy(self.checkout_as_owner().await?, false).await
    }

    /// Maximum number of connections for copies of tenants, which are those of the role that owns
    /// schemas if there is one, and how long a copy waits for one.
    pub(in super::super) fn copy_bounds(&self) -> (usize, Duration) {
        let pool = self.pool.owner().pool().unwrap_or(&self.pool);
        (pool.share(), self.pool.acquire_timeout())
    }

    /// The `search_path` for SQL of a tenant that cannot be qualified.
    pub(in super::super) fn search_path(&self, schema: &SchemaName) -> String {
        // Temporary tables would otherwise be searched first (PostgreSQL manual, search_path).
        format!("{}{}, pg_temp", schema.quoted(), self.pool.connector.extensions())
    }

    /// Asks whether the server accepts writes. If it no longer does, all connections are replaced.
    pub(in super::super) async fn write_access(&self) -> Result<WriteAccess, DbErr> {
        let mut checkout = self.checkout(Usage::Statement).await?;
        let statement = Statement::from_string(DbBackend::Postgres, WRITE_ACCESS);
        let row = checkout.start(Effect::None)?.query_one(statement.into()).await;
        let Some(row) = checkout.finish(row)? else { return Ok(WriteAccess::Allowed) };
        let writes = WriteAccess::of(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if writes != WriteAccess::Allowed {
            checkout.set_server_read_only();
        }
        Ok(writes)
    }

    async fn checkout(&self, usage: Usage) -> Result<Checkout, DbErr> {
        let checkout = Checkout::acquire(Arc::clone(&self.pool), self.user.request(usage)).await;
        let (PoolUser::Tenant(state) | PoolUser::Background(state)) = &self.user else {
            return checkout;
        };
        state.usage.count(&checkout);
        let checkout = checkout?;
        // Checked again: the tenant may have been dropped while this waited.
        state.check().await?;
        Ok(checkout)
    }

    /// A connection for one statement; if the tenant is read-only, in a read-only transaction.
    async fn checkout_for_statement(&self, usage: Usage) -> Result<Checkout, DbErr> {
        let checkout = self.checkout(usage).await?;
        match self.user.is_read_only() {
            // Boxed, as it is rare.
            true => Box::pin(self.begin_read_only(checkout, usage)).await,
            false => Ok(checkout),
        }
    }

    async fn begin_read_only(&self, checkout: Checkout, usage: Usage) -> Result<Checkout, DbErr> {
        match read_only::begin(checkout).await {
            Err(error) if is_broken(&error) => read_only::begin(self.checkout(usage).await?).await,
            other => other,
        }
    }

    async fn begin_once(&self, mut options: TransactionOptions) -> Result<Transaction, DbErr> {
        let checkout = self.checkout(Usage::OpenEnded).await?;
        let is_read_only = self.user.is_read_only();
        if is_read_only {
            options.access_mode = Some(AccessMode::ReadOnly);
        }
        let mut txn = Transaction::begin(checkout, options).await?;
        if is_read_only {
            txn.set_read_only_by_tenant();
        }
        if let PoolUser::Tenant(tenant) | PoolUser::Background(tenant) = &self.user {
            txn.set_tenant(Arc::clone(tenant));
        }
        Ok(txn)
    }
}

impl PoolUser {
    fn is_read_only(&self) -> bool {
        match self {
            Self::Tenant(tenant) | Self::Background(tenant) => tenant.is_read_only(),
            Self::Shared | Self::Registry | Self::Lifecycle => false,
        }
    }

    fn request(&self, usage: Usage) -> Request<'_> {
        let of_none =
            |owner| Request { owner, usage, tenant: None, slug: None, limits: Limits::default() };
        match self {
            Self::Tenant(tenant) => {
                let key = affinity_key(tenant.id);
                Request {
                    owner: Owner::Tenant(key),
                    usage,
                    tenant: Some(key),
                    slug: Some(&tenant.slug),
                    limits: tenant.limits.get(),
                }
            }
            // Neither prefers a connection, as the tenant is used once, nor counts as the tenant.
            Self::Background(tenant) => {
                Request { tenant: Some(affinity_key(tenant.id)), ..of_none(Owner::Background) }
            }
            Self::Shared => Request { tenant: Some(SHARED), ..of_none(Owner::Tenant(SHARED)) },
            Self::Registry => of_none(Owner::Registry),
            Self::Lifecycle => of_none(Owner::Lifecycle),
        }
    }
}

impl Executor for PoolHandle {
    const CAN_RETRY: bool = true;

    fn permit(&self, Analysis { effect, session }: Analysis) -> Result<Effect, Misuse> {
        match session {
            _ if !self.pool.is_pooled() => Ok(effect),
            Some(session) => Err(session.refusal()),
            None if effect >= Effect::Reset => Err(outside_transaction()),
            None => Ok(effect),
        }
    }

    async fn begin_transaction(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        match self.begin_once(options).await {
            // Nothing was done yet, and idle connections are pinged from now on.
            Err(error) if is_broken(&error) => self.begin_once(options).await,
            other => other,
        }
    }

    async fn execute_statement(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<ExecResult, DbErr> {
        let mut checkout = self.checkout_for_statement(Usage::Statement).await?;
        let result = checkout.start(effect)?.execute(statement).await;
        checkout.end(result).await
    }

    async fn execute_batch(&self, sql: &str, effect: Effect) -> Result<ExecResult, DbErr> {
        let mut checkout = self.checkout_for_statement(Usage::Statement).await?;
        let result = checkout.start(effect)?.execute_batch(sql).await;
        checkout.end(result).await
    }

    async fn fetch_optional(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<Option<QueryResult>, DbErr> {
        let mut checkout = self.checkout_for_statement(Usage::Statement).await?;
        let result = checkout.start(effect)?.query_one(statement).await;
        checkout.end(result).await
    }

    async fn fetch_all(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut checkout = self.checkout_for_statement(Usage::Statement).await?;
        let result = checkout.start(effect)?.query_all(statement).await;
        checkout.end(result).await
    }

    async fn fetch_stream(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        let checkout = Box::new(self.checkout_for_statement(Usage::OpenEnded).await?);
        Ok(row_stream(checkout, statement, effect))
    }
}

/// For statements of this crate, which do not change the session.
#[async_trait::async_trait]
impl ConnectionTrait for PoolHandle {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.execute_statement(statement.into(), Effect::None).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_batch(sql, Effect::of(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.fetch_optional(statement.into(), Effect::None).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.fetch_all(statement.into(), Effect::None).await
    }
}
