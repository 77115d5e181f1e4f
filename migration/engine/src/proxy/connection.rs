use std::sync::mpsc::{SyncSender, sync_channel};

use sea_orm::{
    DbBackend, DbErr, ExecResult, MockDatabaseTrait, QueryResult, Statement, Transaction,
};
use tokio::sync::mpsc::UnboundedSender;

/// Request of a migration to its connection, with the channel for the answer.
#[derive(Debug)]
pub(super) enum Request {
    Query(Statement, SyncSender<Result<Vec<QueryResult>, DbErr>>),
    Execute(Statement, SyncSender<Result<ExecResult, DbErr>>),
    Begin,
    Commit,
    Rollback,
}

/// The migration's side of the connection. Blocks the thread of the migration.
#[derive(Debug)]
pub(super) struct Proxy(UnboundedSender<Request>);

impl Proxy {
    pub(super) fn new(requests: UnboundedSender<Request>) -> Self {
        Self(requests)
    }

    fn ask<T>(
        &self,
        request: impl FnOnce(SyncSender<Result<T, DbErr>>) -> Request,
    ) -> Result<T, DbErr> {
        let (sender, answer) = sync_channel(1);
        self.0.send(request(sender)).map_err(|_| closed())?;
        answer.recv().map_err(|_| closed())?
    }

    /// Ignores a closed channel: everything was rolled back.
    fn notify(&self, request: Request) {
        let _ = self.0.send(request);
    }
}

/// The error of a connection that is used after its migration.
pub(super) fn closed() -> DbErr {
    DbErr::Custom("the connection of the migration is closed".to_owned())
}

impl MockDatabaseTrait for Proxy {
    fn execute(&mut self, _: usize, statement: Statement) -> Result<ExecResult, DbErr> {
        self.ask(|sender| Request::Execute(statement, sender))
    }

    fn query(&mut self, _: usize, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.ask(|sender| Request::Query(statement, sender))
    }

    fn begin(&mut self) {
        self.notify(Request::Begin);
    }

    fn commit(&mut self) {
        self.notify(Request::Commit);
    }

    fn rollback(&mut self) {
        self.notify(Request::Rollback);
    }

    fn drain_transaction_log(&mut self) -> Vec<Transaction> {
        Vec::new()
    }

    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn ping(&self) -> Result<(), DbErr> {
        Ok(())
    }
}
