//! The script of a dry run.

use std::borrow::Cow;

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr, ExecResult, QueryResult, Statement, Value,
};

use crate::{
    DynMigrator, Error, Target,
    plan::Step,
    proxy::{Backend, InTransaction, rows_affected},
    run::{commits::begin_next_in, schema_guard::SchemaGuard},
    sql::{SqlStatement, effect::is_pure_read, replace_placeholder},
};

/// Source of the results of statements.
pub(super) enum Answers<'a> {
    /// The schema itself, in a read-only transaction. Only reads are executed.
    Reader(&'a DatabaseTransaction),
    /// A scratch schema, in which every statement is executed.
    Scratch { txn: &'a DatabaseTransaction, guard: SchemaGuard<'a> },
}

/// Statements of the script.
pub(super) struct Script<'a> {
    pub(super) sql: Vec<String>,
    /// Whether the step is transactional.
    pub(super) transactional: bool,
    search_path: String,
    schema: String,
    answers: Answers<'a>,
    /// Whether a read failed. The migration may have ignored the error.
    unanswered: bool,
    /// Open transactions and savepoints of the migration.
    open: usize,
}

impl<'a> Script<'a> {
    pub(super) fn new(target: &Target, migrator: &DynMigrator, answers: Answers<'a>) -> Self {
        Self {
            sql: Vec::new(),
            transactional: true,
            search_path: target.search_path(migrator),
            schema: target.quoted(),
            answers,
            unanswered: false,
            open: 0,
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        !self.unanswered
    }

    pub(super) fn begin_transaction(&mut self) {
        self.sql.push("BEGIN".to_owned());
    }

    /// Sets `search_path`, for the transaction or for the session.
    pub(super) fn set_search_path(&mut self, local: bool) {
        let local = if local { "LOCAL " } else { "" };
        self.sql.push(format!("SET {local}search_path = {}", self.search_path));
    }

    pub(super) fn write(&mut self, sql: &str) {
        let sql = replace_placeholder(sql, &self.schema);
        self.sql.extend(SqlStatement::split(&sql).into_iter().map(|statement| statement.sql));
    }

    /// Records the step in the scratch schema, where a later step may read that.
    pub(super) async fn record(&self, step: &Step, migrator: &DynMigrator) -> Result<(), Error> {
        if let Answers::Scratch { txn, guard } = &self.answers {
            guard.check(*txn, step).await?;
            step.check_and_record(*txn, migrator).await?;
        }
        Ok(())
    }

    /// Commits in the scratch schema.
    pub(super) async fn commit(&mut self, migrator: &DynMigrator) -> Result<(), Error> {
        if let Answers::Scratch { txn, guard } = &mut self.answers {
            begin_next_in(*txn, guard.target, migrator).await?;
            *guard = SchemaGuard::begin(*txn, guard.target, migrator).await?;
        }
        Ok(())
    }

    fn scratch(&self) -> Option<InTransaction<'a, DatabaseTransaction>> {
        match &self.answers {
            Answers::Reader(_) => None,
            Answers::Scratch { txn, guard } => {
                Some(InTransaction::within(*txn, guard.target, self.transactional, self.open))
            }
        }
    }

    /// Ends a transaction or savepoint of the migration.
    fn end(&mut self, whole: &str, savepoint: &str) {
        self.open -= 1;
        let sql = match (self.open, self.transactional) {
            (0, false) => whole.to_owned(),
            (depth, _) => format!("{savepoint} SAVEPOINT tenantry_{depth}"),
        };
        self.sql.push(sql);
    }
}

impl Backend for Script<'_> {
    async fn query(&mut self, mut statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Some(mut scratch) = self.scratch() {
            let sql = sql_of(&statement);
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
        let sql = sql_of(&statement);
        let rows = reader.query_all_raw(statement).await;
        if SqlStatement::split(&sql).iter().any(writes) {
            self.write(&sql);
        }
        rows.inspect_err(|_| self.unanswered = true)
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let sql = sql_of(&statement);
        // The migration rolls back a failed statement, or fails.
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
        let sql = match (self.open, self.transactional) {
            (0, false) => "BEGIN".to_owned(),
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
fn sql_of(statement: &Statement) -> String {
    let mut statement = statement.clone();
    if let Some(values) = &mut statement.values {
        values.0.iter_mut().for_each(quote_not_finite);
    }
    statement.to_string()
}

/// Quotes `NaN` and `Infinity`, which SeaORM does not.
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

/// Whether a statement that returns rows may have side effects.
fn writes(statement: &SqlStatement) -> bool {
    const VERBS: [&str; 4] = ["insert", "update", "delete", "merge"];
    match statement.word(0) {
        Some("select") => !is_pure_read(statement),
        Some("with") => VERBS.iter().any(|verb| statement.find(&[verb]).is_some()),
        Some(first) => VERBS.contains(&first),
        None => false,
    }
}
