//! What migrations send, written down without sending it.

use sea_orm::{
    DbBackend, DbErr, ExecResult, QueryResult, Schema, Statement, sea_query::PostgresQueryBuilder,
};
use sea_orm_migration::{MigratorTraitSelf, seaql_migrations};

use crate::{
    AnyMigrator,
    plan::Step,
    proxy::{Backend, Halt, act, in_one, is_plain, rows_affected},
    sql::Piece,
    statement::{Ground, refusal},
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
    let table = Some(migrator.migration_table_name().to_string());
    let mut tape = Tape { ground, table, ..Tape::default() };
    let mut texts = Vec::with_capacity(steps.len());
    for step in steps {
        tape.alone = step.alone();
        let acted = act(step, &mut tape).await;
        // A migration may have swallowed the error that the refusal came back as.
        let reason = match (tape.refused.take(), acted) {
            (Some(reason), _) => reason,
            (None, Ok(())) => {
                texts.push(joined(std::mem::take(&mut tape.sql)));
                continue;
            }
            (None, Err(Halt::Failed(error))) => error.to_string(),
            (None, Err(Halt::TransactionControl(sql))) => format!("it sends {sql}"),
            (None, Err(Halt::Panicked(message))) => format!("it panics: {message}"),
        };
        return Err(Unrecordable { migration: step.migration.name().to_owned(), reason });
    }
    Ok(texts)
}

/// The statement that makes the migrations table.
pub(crate) fn record_install(migrator: &AnyMigrator) -> String {
    let mut table =
        Schema::new(DbBackend::Postgres).create_table_from_entity(seaql_migrations::Entity);
    table.table(migrator.migration_table_name()).if_not_exists();
    joined(vec![table.to_string(PostgresQueryBuilder)])
}

/// Several statements as one text. Each ends on a line of its own, as it may end with a comment.
pub(crate) fn joined(sql: Vec<String>) -> String {
    sql.into_iter().map(|sql| sql + "\n;\n").collect()
}

/// Writes statements down and executes nothing.
#[derive(Debug, Default)]
struct Tape {
    sql: Vec<String>,
    ground: Ground,
    alone: bool,
    /// The migrations table, whose rows are not there while the statements are recorded.
    table: Option<String>,
    refused: Option<String>,
}

impl Tape {
    fn write(&mut self, statement: &Statement) -> Result<(), DbErr> {
        // Without values a `$1` in the text is part of it.
        let sql = if is_plain(statement) { statement.sql.clone() } else { statement.to_string() };
        let plain = in_one(&sql).filter(|_| self.alone).unwrap_or(sql);
        for piece in Piece::all(&plain).into_iter().filter(|piece| !piece.is_empty()) {
            if let Some(reason) = refusal(&piece, &mut self.ground, self.table.as_deref()) {
                return Err(self.refuse(reason));
            }
            self.sql.push(piece.sql);
        }
        Ok(())
    }

    fn refuse(&mut self, reason: String) -> DbErr {
        let error = DbErr::Custom(format!("the statement cannot be recorded: {reason}"));
        self.refused.get_or_insert(reason);
        error
    }
}

impl Backend for Tape {
    async fn query(&mut self, _: Statement) -> Result<Vec<QueryResult>, DbErr> {
        Err(self.refuse("it reads from the database".to_owned()))
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.write(&statement)?;
        Ok(rows_affected(0))
    }

    async fn begin(&mut self) -> Result<(), DbErr> {
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        Err(self.refuse("it rolls a transaction back".to_owned()))
    }
}
