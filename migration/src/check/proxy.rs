use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sea_orm::{
    ConnectionTrait, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow, Statement,
    from_query_result_to_proxy_row,
};

use super::observer::Observer;
use crate::sql::Piece;

/// The connection that a migration is given: what it sends goes through the [`Observer`].
#[derive(Debug)]
pub(super) struct Proxy {
    observer: Arc<Observer>,
    /// Transactions that were dropped without an end, which are still to be rolled back.
    dropped: AtomicUsize,
}

impl Proxy {
    pub(super) fn new(observer: Arc<Observer>) -> Self {
        Self { observer, dropped: AtomicUsize::new(0) }
    }

    /// The statements to send for one that may hold several.
    async fn pieces(&self, statement: Statement) -> Result<Vec<(Piece, Statement)>, DbErr> {
        self.settle().await;
        let mut pieces = Piece::all(&statement.sql);
        let backend = statement.db_backend;
        if pieces.len() > 1 && statement.values.as_ref().is_none_or(|values| values.0.is_empty()) {
            let split = |piece: Piece| {
                let statement = Statement::from_string(backend, piece.sql.clone());
                (piece, statement)
            };
            return Ok(pieces.into_iter().map(split).collect());
        }
        // With values PostgreSQL itself refuses more than one.
        pieces.truncate(1);
        Ok(pieces.into_iter().map(|piece| (piece, statement.clone())).collect())
    }

    /// Rolls back what was dropped without an end: that could not wait for the database.
    async fn settle(&self) {
        for _ in 0..self.dropped.swap(0, Ordering::Relaxed) {
            self.roll_back().await;
        }
    }

    async fn roll_back(&self) {
        let done = self.observer.roll_back().await;
        let _ = self.observer.own(done);
    }
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Proxy {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let mut rows = Vec::new();
        for (piece, statement) in self.pieces(statement).await? {
            let Some(step) = self.observer.before(piece, statement).await? else { continue };
            let done = self.observer.txn.query_all_raw(step.statement.clone()).await;
            self.observer.after(step, done.as_ref().err()).await?;
            rows = done?.iter().map(from_query_result_to_proxy_row).collect();
        }
        Ok(rows)
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        let mut result = ProxyExecResult::default();
        for (piece, statement) in self.pieces(statement).await? {
            let Some(step) = self.observer.before(piece, statement).await? else { continue };
            let done = self.observer.txn.execute_raw(step.statement.clone()).await;
            self.observer.after(step, done.as_ref().err()).await?;
            result = done?.into();
        }
        Ok(result)
    }

    async fn begin(&self) {
        self.settle().await;
        let done = self.observer.savepoint().await;
        let _ = self.observer.own(done);
    }

    async fn commit(&self) {
        self.settle().await;
        let done = self.observer.release().await;
        let _ = self.observer.own(done);
    }

    async fn rollback(&self) {
        self.settle().await;
        self.roll_back().await;
    }

    fn start_rollback(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}
