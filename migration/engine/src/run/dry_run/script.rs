use std::borrow::Cow;

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr, ExecResult, QueryResult, Statement, Value,
};

use crate::{
    DynMigrator, Error, Target,
    plan::Step,
    proxy::{Backend, InTransaction, rows_affected},
    run::commits::commit_and_enter,
    search_path::SchemaGuard,
    sql::effect::is_pure_read,
    sql::{SqlStatement, replace_placeholder},
};

/// Where the answers to the statements come from.
pub(super) enum Answers<'a> {
    /// The schema itself, in a read-only transaction: questions are answered, nothing else is sent.
    Reader(&'a DatabaseTransaction),
    /// Another schema, in which every statement is carried out.
    Scratch { txn: &'a DatabaseTransaction, watch: SchemaGuard<'a> },
}

/// The statements so far.
pub(super) struct Script<'a> {
    pub(super) sql: Vec<String>,
    /// Whether the step runs outside a transaction.
    pub(super) alone: bool,
    search_path: String,
    schema: String,
    answers: Answers<'a>,
    /// Whether a question could not be answered. The migration may have swallowed the error.
    unanswered: bool,
    /// The transactions that the migration has begun.
    open: usize,
}

impl<'a> Script<'a> {
    pub(super) fn new(target: &Target, migrator: &DynMigrator, answers: Answers<'a>) -> Self {
        Self {
            sql: Vec::new(),
            alone: false,
            search_path: migrator.search_path(target),
            schema: target.quoted(),
            answers,
            unanswered: false,
            open: 0,
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        !self.unanswered
    }

    pub(super) fn begin_all(&mut self) {
        self.sql.push("BEGIN".to_owned());
    }

    /// Sets `search_path`, for the transaction or for the session.
    pub(super) fn scope(&mut self, local: bool) {
        let local = if local { "LOCAL " } else { "" };
        self.sql.push(format!("SET {local}search_path = {}", self.search_path));
    }

    pub(super) fn write(&mut self, sql: &str) {
        let sql = replace_placeholder(sql, &self.schema);
        let pieces = SqlStatement::split(&sql).into_iter().map(|piece| piece.sql);
        self.sql.extend(pieces);
    }

    /// Records the step where it was carried out: a later one may look.
    pub(super) async fn note(&self, step: &Step, migrator: &DynMigrator) -> Result<(), Error> {
        if let Answers::Scratch { txn, watch } = &self.answers {
            watch.check(*txn, step).await?;
            step.conclude(*txn, migrator).await?;
        }
        Ok(())
    }

    /// Commits what was carried out elsewhere so far.
    pub(super) async fn commit(&mut self, migrator: &DynMigrator) -> Result<(), Error> {
        if let Answers::Scratch { txn, watch } = &mut self.answers {
            commit_and_enter(*txn, watch.target, migrator).await?;
            *watch = SchemaGuard::begin(*txn, watch.target, migrator).await?;
        }
        Ok(())
    }

    fn scratch(&self) -> Option<InTransaction<'a, DatabaseTransaction>> {
        match &self.answers {
            Answers::Reader(_) => None,
            Answers::Scratch { txn, watch } => {
                Some(InTransaction::within(*txn, watch.target, self.alone, self.open))
            }
        }
    }

    /// Ends a transaction that the migration has begun.
    fn end(&mut self, whole: &str, savepoint: &str) {
        self.open -= 1;
        let sql = match (self.open, self.alone) {
            (0, true) => whole.to_owned(),
            (depth, _) => format!("{savepoint} SAVEPOINT tenantry_{depth}"),
        };
        self.sql.push(sql);
    }
}

impl Backend for Script<'_> {
    async fn query(&mut self, mut statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Some(mut scratch) = self.scratch() {
            let sql = text_of(&statement);
            let rows = scratch.query(statement).await?;
            if SqlStatement::split(&sql).iter().any(writes) {
                self.write(&sql);
            }
            return Ok(rows);
        }
        if let Cow::Owned(sql) = replace_placeholder(&statement.sql, &self.schema) {
            statement.sql = sql;
        }
        let Answers::Reader(reader) = &self.answers else { return Ok(Vec::new()) };
        let sql = text_of(&statement);
        let rows = reader.query_all_raw(statement).await;
        if SqlStatement::split(&sql).iter().any(writes) {
            self.write(&sql);
        }
        rows.inspect_err(|_| self.unanswered = true)
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let sql = text_of(&statement);
        // One that fails is undone by the migration, or ends it.
        let result = match self.scratch() {
            Some(mut scratch) => scratch.execute(statement).await?,
            None => rows_affected(0),
        };
        self.write(&sql);
        Ok(result)
    }

    async fn begin(&mut self) -> Result<(), DbErr> {
        if let Some(mut scratch) = self.scratch() {
            scratch.begin().await?;
        }
        let sql = match (self.open, self.alone) {
            (0, true) => "BEGIN".to_owned(),
            (depth, _) => format!("SAVEPOINT tenantry_{depth}"),
        };
        self.sql.push(sql);
        self.open += 1;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        if let Some(mut scratch) = self.scratch() {
            scratch.commit().await?;
        }
        self.end("COMMIT", "RELEASE");
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        if let Some(mut scratch) = self.scratch() {
            scratch.rollback().await?;
        }
        self.end("ROLLBACK", "ROLLBACK TO");
        Ok(())
    }
}

/// The statement with its values as literals.
fn text_of(statement: &Statement) -> String {
    let mut statement = statement.clone();
    if let Some(values) = &mut statement.values {
        values.0.iter_mut().for_each(quote_not_finite);
    }
    statement.to_string()
}

/// SQL writes `NaN` and `Infinity` in quotes, SeaORM does not.
fn quote_not_finite(value: &mut Value) {
    match value {
        Value::Float(Some(number)) if !number.is_finite() => {
            *value = f64::from(*number).to_string().into();
        }
        Value::Double(Some(number)) if !number.is_finite() => *value = number.to_string().into(),
        Value::Array(_, Some(values)) => values.iter_mut().for_each(quote_not_finite),
        _ => {}
    }
}

/// Whether a statement that returns rows changes something, too, as far as is known.
fn writes(piece: &SqlStatement) -> bool {
    const VERBS: [&str; 4] = ["insert", "update", "delete", "merge"];
    match piece.word(0) {
        Some("select") => !is_pure_read(piece),
        Some("with") => VERBS.iter().any(|verb| piece.find(&[verb]).is_some()),
        Some(first) => VERBS.contains(&first),
        None => false,
    }
}
