//! A transaction on a connection of the lanes.

use std::{pin::Pin, sync::Arc};

use futures_util::{TryStreamExt, stream::BoxStream};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    StreamTrait, TransactionOptions, TransactionTrait,
};

use super::{
    Session,
    lease::{Lease, State},
    pinned::send,
};

/// A transaction or a savepoint in one. Rolled back when dropped.
pub struct Transaction {
    savepoint: Option<DatabaseTransaction>,
    /// That of the transaction and all its savepoints. It goes back when the last of them is gone.
    lease: Arc<Lease>,
}

impl Transaction {
    pub(super) async fn begin(lease: Lease, options: TransactionOptions) -> Result<Self, DbErr> {
        // Already now: if nobody waits for the answer, the server begins one all the same.
        lease.set(State::Open);
        lease.run(send(lease.db()?, &begin_with(options))).await?;
        Ok(Self { savepoint: None, lease: Arc::new(lease) })
    }

    /// What the functions of migrations work on.
    pub(in super::super) fn db(&self) -> Result<&DatabaseTransaction, DbErr> {
        match &self.savepoint {
            Some(savepoint) => Ok(savepoint),
            None => self.lease.db(),
        }
    }

    pub(in super::super) async fn commit(mut self) -> Result<(), DbErr> {
        match self.savepoint.take() {
            Some(savepoint) => self.lease.run(savepoint.commit()).await,
            None => self.end("COMMIT").await,
        }
    }

    pub(in super::super) async fn rollback(mut self) -> Result<(), DbErr> {
        match self.savepoint.take() {
            Some(savepoint) => self.lease.run(savepoint.rollback()).await,
            None => self.end("ROLLBACK").await,
        }
    }

    async fn end(&self, word: &str) -> Result<(), DbErr> {
        let result = self.lease.run(send(self.lease.db()?, word)).await;
        // A commit that is refused ends the transaction too.
        if !self.lease.is(State::Broken) {
            self.lease.set(State::Rest);
        }
        result
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // A savepoint that has outlived its transaction is undone where there is nothing to be
        // undone. The answer to that must not be left to the next one.
        if self.savepoint.is_some() && self.lease.is(State::Rest) {
            self.lease.set(State::Busy);
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.lease.run(self.db()?.execute_raw(statement)).await
    }

    #[expect(clippy::disallowed_methods, reason = "handed on, under the same rule")]
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.lease.run(self.db()?.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.lease.run(self.db()?.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.lease.run(self.db()?.query_all_raw(statement)).await
    }
}

impl StreamTrait for Transaction {
    type Stream<'a> = BoxStream<'a, Result<QueryResult, DbErr>>;

    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async move {
            let rows = self.db()?.stream_raw(statement).await?;
            let rows = rows.inspect_err(|error| self.lease.answered(Some(error)));
            Ok(Box::pin(rows) as Self::Stream<'a>)
        })
    }
}

impl Session for Transaction {
    const RESENDS: bool = false;

    async fn start(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        let savepoint = self.lease.run(self.db()?.begin_with_options(options)).await?;
        Ok(Self { savepoint: Some(savepoint), lease: Arc::clone(&self.lease) })
    }
}

/// One message, whatever is asked for.
fn begin_with(options: TransactionOptions) -> String {
    let mut begin = "BEGIN".to_owned();
    if let Some(level) = options.isolation_level {
        begin.push_str(&format!(" ISOLATION LEVEL {level}"));
    }
    if let Some(mode) = options.access_mode {
        begin.push_str(&format!(" {mode}"));
    }
    begin
}
