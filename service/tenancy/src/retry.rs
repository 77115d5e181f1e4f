//! Sending a statement, and sending it again if it was prepared before a migration or if its
//! connection was broken before it was sent.

use std::{borrow::Cow, mem};

use futures_util::{TryStreamExt, stream::BoxStream};
use sea_orm::{DbBackend, DbErr, ExecResult, QueryResult, Statement, StatementBuilder};
use tenantry_migrate::DbErrorKind;

use super::{
    connection::{Binding, BoundConnection},
    pool::{Executor, was_unsent},
    statement::{self, Effect, QualifiedStatement},
};

/// A statement as it is sent, and what is known of it.
struct Qualified {
    statement: QualifiedStatement,
    effect: Effect,
    /// See [`Epoch`](super::statement_epoch::Epoch).
    epoch: u64,
}

impl<C: Executor, B: Binding> BoundConnection<C, B> {
    /// Sends a statement that can be built again for a retry.
    pub(super) async fn send_built<T, F>(
        &self,
        statement: &impl StatementBuilder,
        send: impl Fn(QualifiedStatement, Effect) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let build = || DbBackend::Postgres.build(statement);
        self.send(build(), || C::CAN_RETRY.then(build), send).await
    }

    /// Sends a statement, of which a copy is kept for a retry.
    pub(super) async fn send_raw<T, F>(
        &self,
        statement: Statement,
        send: impl Fn(QualifiedStatement, Effect) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let copy = C::CAN_RETRY.then(|| statement.clone());
        self.send(statement, || copy, send).await
    }

    async fn send<T, F>(
        &self,
        statement: Statement,
        again: impl FnOnce() -> Option<Statement> + Send,
        send: impl Fn(QualifiedStatement, Effect) -> F + Send,
    ) -> Result<T, DbErr>
    where
        T: Send,
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let Qualified { statement, effect, epoch } = self.qualify(statement).await?;
        let result = send(statement, effect).await;
        let unsent = result.as_ref().err().is_some_and(was_unsent);
        if !self.advance_if_stale(epoch, result.as_ref().err()) && !unsent {
            return self.with_availability(result).await;
        }
        let Some(statement) = again() else { return result };
        let Qualified { statement, effect, epoch } = self.qualify(statement).await?;
        let result = send(statement, effect).await;
        self.advance_if_stale(epoch, result.as_ref().err());
        self.with_availability(result).await
    }

    /// Sends SQL that is not prepared.
    pub(super) async fn send_batch(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let (sql, analysis) = self.state.qualify_sql(sql).await?;
        let effect = self.db.permit(analysis)?;
        let result = self.db.execute_batch(&sql, effect).await;
        self.with_availability(result).await
    }

    /// Opens a stream. If its statement is stale, no row was returned yet, but the stream belongs to
    /// the caller, who has to open it again.
    pub(super) async fn open(
        &self,
        statement: Statement,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        let Qualified { statement, effect, epoch } = self.qualify(statement).await?;
        let stream = self.db.fetch_stream(statement, effect).await?;
        Ok(Box::pin(stream.or_else(move |error| async move {
            self.advance_if_stale(epoch, Some(&error));
            Err(self.state.recheck(error).await)
        })))
    }

    async fn with_availability<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        match result {
            // Boxed, so that statements that succeed do not carry its state.
            Err(error) => Err(Box::pin(self.state.recheck(error)).await),
            ok => ok,
        }
    }
}

impl<C: Executor, B: Binding> BoundConnection<C, B> {
    async fn qualify(&self, mut statement: Statement) -> Result<Qualified, DbErr> {
        statement::check(&statement)?;
        let (sql, analysis) = self.state.qualify_sql(&statement.sql).await?;
        let effect = self.db.permit(analysis)?;
        let shape = match sql {
            Cow::Owned(sql) => Some(mem::replace(&mut statement.sql, sql)),
            Cow::Borrowed(_) => None,
        };
        let epoch = self.state.epoch().append_to(&mut statement.sql);
        Ok(Qualified { statement: QualifiedStatement { statement, shape }, effect, epoch })
    }

    /// Advances the epoch if a statement of the epoch `sent` was refused as stale.
    fn advance_if_stale(&self, sent: u64, error: Option<&DbErr>) -> bool {
        let stale =
            error.is_some_and(|error| DbErrorKind::of(error) == DbErrorKind::StaleStatement);
        if stale {
            self.state.epoch().advance(sent);
        }
        stale
    }
}
