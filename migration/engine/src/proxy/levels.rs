use sea_orm::{DbErr, Statement};

use super::{Backend, Halt, connection::Request};
use crate::{DbErrorKind, plan::Step, sql::SqlStatement};

/// The statements of one migration and the transactions that it begins, one inside the other.
///
/// SeaORM does not wait for the answer when it begins or ends a transaction on such a connection.
/// If that fails, every statement after it fails, and so does the migration.
pub(super) struct Levels<'a, B> {
    backend: &'a mut B,
    /// Whether the outermost transaction is one that there is already.
    transactional: bool,
    open: Vec<Level>,
    trouble: Option<DbErr>,
    /// What came of a statement that was refused. The migration may have swallowed the error.
    refused: Option<Halt>,
    /// The error of a statement after which PostgreSQL refuses all others, as far as is known.
    aborted: Option<DbErr>,
    step: &'a Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// That of the one who runs the migration.
    Outer,
    Begun,
    /// It could not be begun; whether that is where the trouble began.
    Failed(bool),
}

impl<'a, B: Backend> Levels<'a, B> {
    pub(super) fn new(backend: &'a mut B, transactional: bool, step: &'a Step) -> Self {
        let (open, trouble, refused, aborted) = (Vec::new(), None, None, None);
        Self { backend, transactional, open, trouble, refused, aborted, step }
    }

    pub(super) async fn answer(&mut self, request: Request) {
        // Who does not wait for the answer has panicked or was given up.
        match request {
            Request::Query(statement, sender) => {
                let answer = match self.admit(&statement) {
                    Ok(()) => self.backend.query(statement).await,
                    Err(error) => Err(error),
                };
                self.read(answer.as_ref().err());
                let _ = sender.send(answer);
            }
            Request::Execute(statement, sender) => {
                let answer = match self.admit(&statement) {
                    Ok(()) => self.backend.execute(statement).await,
                    Err(error) => Err(error),
                };
                self.read(answer.as_ref().err());
                let _ = sender.send(answer);
            }
            Request::Begin => self.begin().await,
            Request::Commit => {
                if self.open.pop() == Some(Level::Begun) {
                    let ended = self.backend.commit().await;
                    self.note(ended);
                }
            }
            Request::Rollback => match self.open.pop() {
                Some(Level::Begun) => {
                    let ended = self.backend.rollback().await;
                    self.note(ended);
                    self.aborted = None;
                }
                // The error has reached the statements in it.
                Some(Level::Failed(true)) => self.trouble = None,
                Some(Level::Failed(false) | Level::Outer) | None => {}
            },
        }
    }

    /// The result of the migration, which has returned `result`, and the error after which the
    /// transaction may be aborted.
    pub(super) fn end(self, result: Result<(), Halt>) -> Result<Option<DbErr>, Halt> {
        match (result, self.refused, self.trouble) {
            (Err(Halt::Panicked(message)), _, _) => Err(Halt::Panicked(message)),
            (_, Some(refused), _) => Err(refused),
            (Ok(()), None, Some(trouble)) => Err(Halt::Failed(trouble)),
            (Err(Halt::Failed(error)), None, _) if is_aborted(&error) => {
                Err(Halt::Failed(self.aborted.unwrap_or(error)))
            }
            (result, None, _) => result.map(|()| self.aborted),
        }
    }

    /// Keeps the error of a statement, but not that of one behind it.
    fn read(&mut self, error: Option<&DbErr>) {
        if let Some(error) = error.filter(|error| !is_aborted(error)) {
            self.aborted = Some(error.clone());
        }
    }

    async fn begin(&mut self) {
        if self.transactional && self.open.is_empty() {
            return self.open.push(Level::Outer);
        }
        if self.trouble.is_some() {
            return self.open.push(Level::Failed(false));
        }
        let begun = self.backend.begin().await;
        self.open.push(if begun.is_ok() { Level::Begun } else { Level::Failed(true) });
        self.note(begun);
    }

    fn admit(&mut self, statement: &Statement) -> Result<(), DbErr> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        self.step.suppressions.read(&statement.sql);
        if !B::REFUSES_CONTROL {
            return Ok(());
        }
        for piece in SqlStatement::split(&statement.sql) {
            let reason = piece.needs_client().or_else(|| self.step.extensions.refusal(&piece));
            let (error, halt) = if let Some(reason) = reason {
                let error = DbErr::Custom(reason);
                (error.clone(), Halt::Failed(error))
            } else if piece.is_transaction_control() {
                let error =
                    format!("{} begins or ends a transaction, so it was not sent", piece.sql);
                (DbErr::Custom(error), Halt::TransactionControl(piece.sql))
            } else {
                continue;
            };
            self.refused.get_or_insert(halt);
            return Err(error);
        }
        Ok(())
    }

    fn note(&mut self, result: Result<(), DbErr>) {
        if let Err(error) = result {
            self.trouble.get_or_insert(error);
        }
    }
}

/// SQLSTATE 25P02: a statement before this one has failed.
pub(crate) fn is_aborted(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error).as_deref() == Some("25P02")
}
