//! Sending a statement, and sending it again when it was prepared before a migration or its
//! connection had ended before it was sent.

use futures_util::{TryStreamExt, stream::BoxStream};
use sea_orm::{DbBackend, DbErr, ExecResult, QueryResult, Statement, StatementBuilder};
use tenantry_migrate::DbErrorKind;

use super::{
    TenantConnection,
    pool::{Session, was_unsent},
    statement::Effect,
    tenant_state::Qualified,
};

impl<C: Session> TenantConnection<C> {
    /// Sends a statement that can be built again, so that nothing is kept for the rare case.
    pub(super) async fn send_built<T, F>(
        &self,
        statement: &impl StatementBuilder,
        send: impl Fn(Statement, Effect) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let build = || DbBackend::Postgres.build(statement);
        self.send(build(), || C::RESENDS.then(build), send).await
    }

    /// Sends a statement that is there only once, and is copied where it may be sent again.
    pub(super) async fn send_raw<T, F>(
        &self,
        statement: Statement,
        send: impl Fn(Statement, Effect) -> F + Send,
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
        send: impl Fn(Statement, Effect) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let Qualified { statement, effect, epoch } = self.state.qualify(statement).await?;
        let result = send(statement, effect).await;
        let unsent = result.as_ref().err().is_some_and(was_unsent);
        if !self.renewed(epoch, result.as_ref().err()) && !unsent {
            return self.explained(result).await;
        }
        let Some(statement) = again() else { return result };
        let Qualified { statement, effect, epoch } = self.state.qualify(statement).await?;
        let result = send(statement, effect).await;
        self.renewed(epoch, result.as_ref().err());
        self.explained(result).await
    }

    async fn explained<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        match result {
            // Apart, so that statements which succeed do not carry its state.
            Err(error) => Err(Box::pin(self.explain(error)).await),
            done => done,
        }
    }

    /// Sends text that is not prepared.
    pub(super) async fn send_text(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let (sql, effect) = self.state.qualify_text(sql).await?;
        let result = self.db.send(&sql, effect).await;
        self.explained(result).await
    }
}

impl<C> TenantConnection<C> {
    /// Begins a new epoch if a statement of the epoch `sent` was refused as stale.
    fn renewed(&self, sent: u64, error: Option<&DbErr>) -> bool {
        let stale =
            error.is_some_and(|error| DbErrorKind::of(error) == DbErrorKind::StaleStatement);
        if stale {
            self.state.epoch.renew(sent);
        }
        stale
    }
}

impl<C: Session> TenantConnection<C> {
    /// Opens a stream. It has handed out nothing when its statement is refused as stale, but is in
    /// the caller's hands already: it is the caller who may open it again.
    pub(super) async fn open(
        &self,
        statement: Statement,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        let Qualified { statement, effect, epoch } = self.state.qualify(statement).await?;
        let stream = self.db.stream(statement, effect).await?;
        Ok(Box::pin(stream.or_else(move |error| async move {
            self.renewed(epoch, Some(&error));
            Err(self.explain(error).await)
        })))
    }
}
