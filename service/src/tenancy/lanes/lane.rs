//! The connections in the order of one tenant, as SeaORM sees them.

use std::{pin::Pin, sync::Arc};

use futures_util::stream::BoxStream;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, StreamTrait,
    TransactionOptions,
};

use super::{
    Lanes, Session, Transaction, Writes,
    bounds::has_ended,
    choice::fold,
    lease::Lease,
    queue::{Ask, Hold},
    stream,
};
use crate::tenancy::shared::Known;

/// Whether the server is a standby, and whether it is read-only.
const WRITES: &str =
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";

/// All connections, the nearest to one tenant first. Each statement takes one for as long as it
/// runs. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    lanes: Arc<Lanes>,
    /// None for the registry.
    tenant: Option<Known>,
}

impl Lane {
    pub(super) fn new(lanes: Arc<Lanes>, tenant: Option<Known>) -> Self {
        Self { lanes, tenant }
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

    /// Takes a connection and gives it back.
    pub(in super::super) async fn rehearse(&self) -> Result<(), DbErr> {
        self.lease(Hold::Statement).await.map(drop)
    }

    /// Whether the server accepts writes. If it does not and did before, all connections are
    /// replaced.
    pub(in super::super) async fn writes(&self) -> Result<Writes, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let answer = lease.begin()?.query_one(Statement::from_string(DbBackend::Postgres, WRITES));
        let row = answer.await;
        let Some(row) = lease.settle(row)? else { return Ok(Writes::Accepted) };
        let writes = Writes::of(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if writes != Writes::Accepted {
            lease.demote();
        }
        Ok(writes)
    }

    async fn lease(&self, hold: Hold) -> Result<Lease, DbErr> {
        let tenant = self.tenant.as_ref().map(|shared| fold(shared.id));
        let lease = Lease::take(Arc::clone(&self.lanes), Ask { tenant, hold }).await?;
        if let Some(shared) = &self.tenant {
            // Once more: while the connection was waited for, the tenant may have been dropped.
            shared.check()?;
        }
        Ok(lease)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Lane {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin()?.execute(statement).await;
        lease.settle(result)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin()?.send(sql).await;
        lease.settle(result)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin()?.query_one(statement).await;
        lease.settle(result)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lease = self.lease(Hold::Statement).await?;
        let result = lease.begin()?.query_all(statement).await;
        lease.settle(result)
    }
}

impl StreamTrait for Lane {
    type Stream<'a> = BoxStream<'a, Result<QueryResult, DbErr>>;

    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async move { Ok(stream::of(Box::new(self.lease(Hold::Long).await?), statement)) })
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
}
