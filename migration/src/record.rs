//! What migrations send, written down without sending it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sea_orm::{
    Database, DatabaseConnection, DbBackend, DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow,
    Statement,
};
use sea_orm_migration::MigratorTraitSelf;

use crate::{
    AnyMigrator,
    plan::Step,
    sql::Piece,
    statement::{Ground, refusal},
    together::without_concurrently,
};

/// Why the statements of a migration cannot be written down once for every schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unrecordable {
    pub(crate) migration: String,
    pub(crate) reason: String,
}

/// What each of these steps sends, as one text that may hold several statements. Notes in the
/// migrations table are not part of it. A step that is to run alone comes without its
/// `CONCURRENTLY`.
///
/// Nothing is executed: a statement is written down only if its answer is known beforehand. And
/// nothing may be put into a statement that is made up as it is sent – an id, the time – as every
/// schema would get the same: the steps are recorded twice, and must say the same both times. (What
/// changes only by the day is not noticed.)
pub(crate) async fn record(
    steps: &[Step],
    migrator: &AnyMigrator,
    ground: Ground,
) -> Result<Vec<String>, Unrecordable> {
    let first = record_once(steps, migrator, ground).await?;
    let again = record_once(steps, migrator, ground).await?;
    match first.iter().zip(&again).position(|(one, other)| one != other) {
        None => Ok(first),
        Some(differs) => Err(Unrecordable {
            migration: steps[differs].migration.name().to_owned(),
            reason: "its statements are others each time".to_owned(),
        }),
    }
}

async fn record_once(
    steps: &[Step],
    migrator: &AnyMigrator,
    ground: Ground,
) -> Result<Vec<String>, Unrecordable> {
    let recorder = Recorder::new(migrator, ground);
    let mut texts = Vec::with_capacity(steps.len());
    for step in steps {
        let failed =
            |reason: String| Unrecordable { migration: step.migration.name().to_owned(), reason };
        let db = recorder.connection().await.map_err(|error| failed(error.to_string()))?;
        recorder.tape().alone = step.alone();
        let acted = step.act(&db).await;
        let mut tape = recorder.tape();
        // A migration may have swallowed the error that the refusal came back as.
        if let Some(reason) = tape.refused.take() {
            return Err(failed(reason));
        }
        acted.map_err(|error| failed(error.to_string()))?;
        texts.push(joined(std::mem::take(&mut tape.sql)));
    }
    Ok(texts)
}

/// The statement that makes the migrations table.
pub(crate) async fn record_install(migrator: &AnyMigrator) -> Result<String, DbErr> {
    let recorder = Recorder::new(migrator, Ground::Empty);
    recorder.tape().table = None;
    migrator.install(&recorder.connection().await?).await?;
    let sql = std::mem::take(&mut recorder.tape().sql);
    Ok(joined(sql))
}

/// Several statements as one text. Each ends on a line of its own, as it may end with a comment.
pub(crate) fn joined(sql: Vec<String>) -> String {
    sql.into_iter().map(|sql| sql + "\n;\n").collect()
}

/// A connection that executes nothing.
#[derive(Debug, Clone)]
struct Recorder(Arc<Mutex<Tape>>);

#[derive(Debug)]
struct Tape {
    sql: Vec<String>,
    ground: Ground,
    alone: bool,
    /// The migrations table, whose rows are not there while the statements are recorded.
    table: Option<String>,
    refused: Option<String>,
}

impl Recorder {
    fn new(migrator: &AnyMigrator, ground: Ground) -> Self {
        let table = Some(migrator.migration_table_name().to_string());
        let tape = Tape { sql: Vec::new(), ground, alone: false, table, refused: None };
        Self(Arc::new(Mutex::new(tape)))
    }

    async fn connection(&self) -> Result<DatabaseConnection, DbErr> {
        let proxy: Box<dyn ProxyDatabaseTrait> = Box::new(self.clone());
        Database::connect_proxy(DbBackend::Postgres, Arc::new(proxy)).await
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tape {
    fn write(&mut self, statement: &Statement) -> Result<(), DbErr> {
        // Without values a `$1` in the text is part of it.
        let sql = match &statement.values {
            Some(values) if !values.0.is_empty() => statement.to_string(),
            _ => statement.sql.clone(),
        };
        for piece in Piece::all(&sql).into_iter().filter(|piece| !piece.is_empty()) {
            if let Some(reason) = refusal(&piece, &mut self.ground, self.table.as_deref()) {
                return Err(self.refuse(reason));
            }
            let plain = without_concurrently(&piece.sql).filter(|_| self.alone);
            self.sql.push(plain.unwrap_or(piece.sql));
        }
        Ok(())
    }

    fn refuse(&mut self, reason: String) -> DbErr {
        let error = DbErr::Custom(format!("the statement cannot be recorded: {reason}"));
        self.refused.get_or_insert(reason);
        error
    }
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Recorder {
    async fn query(&self, _: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        Err(self.tape().refuse("it reads from the database".to_owned()))
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        self.tape().write(&statement)?;
        Ok(ProxyExecResult::default())
    }

    async fn rollback(&self) {
        self.start_rollback();
    }

    fn start_rollback(&self) {
        self.tape().refuse("it rolls a transaction back".to_owned());
    }
}
