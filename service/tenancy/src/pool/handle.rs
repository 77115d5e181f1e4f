//! The connections in the order of one tenant, as SeaORM sees them.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, TransactionOptions,
};
use tenantry_registry::SchemaName;

use super::{
    super::statement::Effect,
    Lanes, Session, Transaction, Writes,
    affinity::fold,
    checkout::Lease,
    request::{Ask, Hold, Owner},
    stream,
    timeouts::has_ended,
};
use crate::{Limits, tenant_state::TenantState};

/// Whether the server is a standby, and whether it is read-only.
const WRITES: &str =
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";

/// The connections as one user has them. Each statement takes one for as long as it runs. Cheap to
/// clone.
#[derive(Clone)]
pub struct Lane {
    lanes: Arc<Lanes>,
    user: User,
}

/// On whose behalf statements are sent.
#[derive(Clone)]
pub(super) enum User {
    Tenant(Arc<TenantState>),
    /// Look-ups in the registry.
    Registry,
    /// Creations, drops and spares.
    Lifecycle,
}

impl Lane {
    pub(super) fn new(lanes: Arc<Lanes>, user: User) -> Self {
        Self { lanes, user }
    }

    /// A transaction as the server has them by default.
    pub(in super::super) async fn begin(&self) -> Result<Transaction, DbErr> {
        self.start(TransactionOptions::default()).await
    }

    /// A transaction that makes or drops a schema.
    pub(in super::super) async fn begin_for_ddl(&self) -> Result<Transaction, DbErr> {
        Transaction::begin_for_ddl(self.lease(Hold::Long).await?).await
    }

    /// A transaction in which migrations may run.
    pub(in super::super) async fn begin_for_migrations(&self) -> Result<Transaction, DbErr> {
        Transaction::begin_for_migrations(self.lease(Hold::Long).await?).await
    }

    /// The `search_path` of a tenant's SQL that cannot be qualified.
    pub(in super::super) fn search_path(&self, schema: &SchemaName) -> String {
        // Temporary tables would otherwise be looked for first (PostgreSQL manual, search_path).
        format!("{}{}, pg_temp", schema.quoted(), self.lanes.opener.extensions())
    }

    /// Takes a connection and gives it back.
    pub(in super::super) async fn rehearse(&self) -> Result<(), DbErr> {
        self.lease(Hold::Statement).await.map(drop)
    }

    /// Whether the server accepts writes. If it does not and did before, all connections are
    /// replaced.
    pub(in super::super) async fn writes(&self) -> Result<Writes, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let answer = lease
            .begin(Effect::None)?
            .query_one(Statement::from_string(DbBackend::Postgres, WRITES));
        let row = answer.await;
        let Some(row) = lease.settle(row)? else { return Ok(Writes::Accepted) };
        let writes = Writes::of(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if writes != Writes::Accepted {
            lease.demote();
        }
        Ok(writes)
    }

    async fn lease(&self, hold: Hold) -> Result<Lease, DbErr> {
        let lease = Lease::take(Arc::clone(&self.lanes), self.user.ask(hold)).await?;
        if let User::Tenant(shared) = &self.user {
            // Once more: while the connection was waited for, the tenant may have been dropped.
            shared.check().await?;
        }
        Ok(lease)
    }
}

impl User {
    fn ask(&self, hold: Hold) -> Ask<'_> {
        match self {
            Self::Tenant(tenant) => Ask {
                owner: Owner::Tenant(fold(tenant.id)),
                hold,
                slug: Some(&tenant.slug),
                limits: tenant.limits.get(),
            },
            Self::Registry => Self::without_tenant(Owner::Registry, hold),
            Self::Lifecycle => Self::without_tenant(Owner::Lifecycle, hold),
        }
    }

    fn without_tenant(owner: Owner, hold: Hold) -> Ask<'static> {
        Ask { owner, hold, slug: None, limits: Limits::default() }
    }
}

impl Session for Lane {
    const RESENDS: bool = true;

    async fn start(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        match Transaction::begin(self.lease(Hold::Long).await?, options).await {
            // Nothing has been done yet, and what is parked is tried from now on.
            Err(error) if has_ended(&error) => {
                Transaction::begin(self.lease(Hold::Long).await?, options).await
            }
            other => other,
        }
    }

    async fn run(&self, statement: Statement, effect: Effect) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin(effect)?.execute(statement).await;
        lease.settle(result)
    }

    async fn send(&self, sql: &str, effect: Effect) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin(effect)?.send(sql).await;
        lease.settle(result)
    }

    async fn first_row(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> Result<Option<QueryResult>, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin(effect)?.query_one(statement).await;
        lease.settle(result)
    }

    async fn all_rows(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin(effect)?.query_all(statement).await;
        lease.settle(result)
    }

    async fn stream(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        Ok(stream::of(Box::new(self.lease(Hold::Long).await?), statement, effect))
    }
}

/// For the registry's own statements, which leave the session as it is.
#[async_trait::async_trait]
impl ConnectionTrait for Lane {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.run(statement, Effect::None).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.send(sql, Effect::of(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.first_row(statement, Effect::None).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.all_rows(statement, Effect::None).await
    }
}
