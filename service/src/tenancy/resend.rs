//! Sending a statement, and sending it again when it was prepared before a migration.

use futures_util::{TryStreamExt, stream::BoxStream};
use migration::Fault;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, QueryResult, Statement,
    StatementBuilder, StreamTrait,
};

use super::Scope;

/// Where a statement that PostgreSQL has found to be stale may be sent once more. It says so
/// before it does anything; but a transaction has ended by it.
pub trait Resend {
    const RESENDS: bool;
}

impl Resend for DatabaseConnection {
    const RESENDS: bool = true;
}

impl Resend for DatabaseTransaction {
    const RESENDS: bool = false;
}

impl<C: ConnectionTrait + Resend> Scope<C> {
    /// Sends a statement that can be built again, so that nothing is kept for the rare case.
    pub(super) async fn send_built<T, F>(
        &self,
        statement: &impl StatementBuilder,
        send: impl Fn(Statement) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let build = || self.db.get_database_backend().build(statement);
        self.send(build(), || C::RESENDS.then(build), send).await
    }

    /// Sends a statement that is there only once, and is copied where it may be sent again.
    pub(super) async fn send_raw<T, F>(
        &self,
        statement: Statement,
        send: impl Fn(Statement) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let copy = C::RESENDS.then(|| statement.clone());
        self.send(statement, || copy, send).await
    }

    async fn send<T, F>(
        &self,
        statement: Statement,
        again: impl FnOnce() -> Option<Statement> + Send,
        send: impl Fn(Statement) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let (statement, epoch) = self.shared.qualify(statement)?;
        let result = send(statement).await;
        if !self.renewed(epoch, result.as_ref().err()) {
            return result;
        }
        let Some(statement) = again() else { return result };
        let (statement, epoch) = self.shared.qualify(statement)?;
        let result = send(statement).await;
        self.renewed(epoch, result.as_ref().err());
        result
    }
}

impl<C> Scope<C> {
    /// Begins a new epoch if a statement of the epoch `sent` was refused as stale.
    fn renewed(&self, sent: u64, error: Option<&DbErr>) -> bool {
        let stale = error.is_some_and(|error| Fault::of(error) == Fault::StaleStatement);
        if stale {
            self.shared.epoch.renew(sent);
        }
        stale
    }
}

impl<C: StreamTrait> Scope<C> {
    /// Opens a stream. It has handed out nothing when its statement is refused as stale, but is in
    /// the caller's hands already: it is the caller who may open it again.
    pub(super) async fn open(
        &self,
        statement: Statement,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        let (statement, epoch) = self.shared.qualify(statement)?;
        let stream = self.db.stream_raw(statement).await?;
        Ok(Box::pin(stream.inspect_err(move |error| {
            self.renewed(epoch, Some(error));
        })))
    }
}
