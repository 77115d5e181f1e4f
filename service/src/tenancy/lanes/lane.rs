//! The connections in the order of one tenant, as SeaORM sees them.

use std::{pin::Pin, sync::Arc};

use futures_util::stream::BoxStream;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, StreamTrait,
    TransactionOptions,
};

use super::{
    Lanes, Session, Transaction,
    lease::{Lease, has_ended},
    queue::{Ask, Hold},
    stream,
};

/// All connections, the nearest to one tenant first. Each statement takes one for as long as it
/// runs. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    lanes: Arc<Lanes>,
    /// None for the registry.
    tenant: Option<u64>,
}

impl Lane {
    pub(super) fn new(lanes: Arc<Lanes>, tenant: Option<u64>) -> Self {
        Self { lanes, tenant }
    }

    /// A transaction as the server has them by default.
    pub(in super::super) async fn begin(&self) -> Result<Transaction, DbErr> {
        self.start(TransactionOptions::default()).await
    }

    /// A transaction in which migrations may run.
    pub(in super::super) async fn begin_for_migrations(&self) -> Result<Transaction, DbErr> {
        Transaction::begin_for_migrations(self.lease(Hold::Long).await?).await
    }

    /// Takes a connection and gives it back.
    pub(in super::super) async fn rehearse(&self) -> Result<(), DbErr> {
        self.lease(Hold::Statement).await.map(drop)
    }

    async fn lease(&self, hold: Hold) -> Result<Lease, DbErr> {
        Lease::take(Arc::clone(&self.lanes), Ask { tenant: self.tenant, hold }).await
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
