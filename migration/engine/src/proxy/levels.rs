use sea_orm::{DbErr, Statement};

use super::{Backend, Halt, connection::Request};
use crate::{DbErrorKind, plan::Step, sql::SqlStatement};

/// Nested transactions of one migration, and its statements.
///
/// SeaORM does not wait for an answer when it begins or ends a transaction on such a connection. If
/// that fails, every later statement fails, and so does the migration.
pub(super) struct TransactionLevels<'a, B> {
    backend: &'a mut B,
    /// Whether the outermost transaction is already open.
    transactional: bool,
    open: Vec<Level>,
    /// Error of a `BEGIN`, `COMMIT` or `ROLLBACK`.
    failed: Option<DbErr>,
    /// Error of a refused statement. The migration may have ignored it.
    refused: Option<Halt>,
    /// Error of a statement that may have aborted the transaction.
    aborted: Option<DbErr>,
    step: &'a Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The caller's transaction.
    Outer,
    Open,
    /// `BEGIN` failed; whether that was the first error.
    Failed(bool),
}

impl<'a, B: Backend> TransactionLevels<'a, B> {
    pub(super) fn new(backend: &'a mut B, transactional: bool, step: &'a Step) -> Self {
        let (open, failed, refused, aborted) = (Vec::new(), None, None, None);
        Self { backend, transactional, open, failed, refused, aborted, step }
    }

    pub(super) async fn answer(&mut self, request: Request) {
        // Ignores a closed answer channel: the migration has panicked or was dropped.
        match request {
            Request::Query(statement, sender) => {
                let answer = match self.admit(&statement) {
                    Ok(()) => self.backend.query(statement).await,
                    Err(error) => Err(error),
                };
                self.record_error(answer.as_ref().err());
                let _ = sender.send(answer);
            }
            Request::Execute(statement, sender) => {
                let answer = match self.admit(&statement) {
                    Ok(()) => self.backend.execute(statement).await,
                    Err(error) => Err(error),
                };
                self.record_error(answer.as_ref().err());
                let _ = sender.send(answer);
            }
            Request::Begin => self.begin().await,
            Request::Commit => {
                if self.open.pop() == Some(Level::Open) {
                    let ended = self.backend.commit().await;
                    self.record_failure(ended);
                }
            }
            Request::Rollback => match self.open.pop() {
                Some(Level::Open) => {
                    let ended = self.backend.rollback().await;
                    self.record_failure(ended);
                    self.aborted = None;
                }
                // The statements in it have returned the error.
                Some(Level::Failed(true)) => self.failed = None,
                Some(Level::Failed(false) | Level::Outer) | None => {}
            },
        }
    }

    /// Combines the migration's own result with refused statements and failed transactions. Returns
    /// an error that may have aborted the transaction although the migration ignored it.
    pub(super) fn end(self, result: Result<(), Halt>) -> Result<Option<DbErr>, Halt> {
        match (result, self.refused, self.failed) {
            (Err(Halt::Panicked(message)), _, _) => Err(Halt::Panicked(message)),
            (_, Some(refused), _) => Err(refused),
            (Ok(()), None, Some(error)) => Err(Halt::Failed(error)),
            (Err(Halt::Failed(error)), None, _) if is_aborted(&error) => {
                Err(Halt::Failed(self.aborted.unwrap_or(error)))
            }
            (result, None, _) => result.map(|()| self.aborted),
        }
    }

    /// Stores the error of a statement, but not the errors that follow from it.
    fn record_error(&mut self, error: Option<&DbErr>) {
        if let Some(error) = error.filter(|error| !is_aborted(error)) {
            self.aborted = Some(error.clone());
        }
    }

    async fn begin(&mut self) {
        if self.transactional && self.open.is_empty() {
            return self.open.push(Level::Outer);
        }
        if self.failed.is_some() {
            return self.open.push(Level::Failed(false));
        }
        let result = self.backend.begin().await;
        self.open.push(if result.is_ok() { Level::Open } else { Level::Failed(true) });
        self.record_failure(result);
    }

    fn admit(&mut self, statement: &Statement) -> Result<(), DbErr> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.step.suppressions.read(&statement.sql);
        if !B::REFUSES_CONTROL {
            return Ok(());
        }
        for sent in SqlStatement::split(&statement.sql) {
            let reason = sent.needs_client().or_else(|| self.step.extensions.refusal(&sent));
            let (error, halt) = if let Some(reason) = reason {
                let error = DbErr::Custom(reason);
                (error.clone(), Halt::Failed(error))
            } else if sent.is_transaction_control() {
                let error =
                    format!("{} begins or ends a transaction, so it was not sent", sent.sql);
                (DbErr::Custom(error), Halt::TransactionControl(sent.sql))
            } else {
                continue;
            };
            self.refused.get_or_insert(halt);
            return Err(error);
        }
        Ok(())
    }

    fn record_failure(&mut self, result: Result<(), DbErr>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

/// SQLSTATE 25P02: an earlier statement has failed.
pub(crate) fn is_aborted(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error).as_deref() == Some("25P02")
}
