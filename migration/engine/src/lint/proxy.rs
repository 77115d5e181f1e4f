use std::borrow::Cow;

use sea_orm::{ConnectionTrait, DbErr, ExecResult, QueryResult, Statement};

use tenantry_registry::SchemaName;

use super::observer::Observer;
use crate::{
    Error,
    plan::Step,
    proxy::{self, Backend, Halt, has_no_values, rows_affected},
    sql::{SqlStatement, replace_placeholder},
};

/// Executes the statements of a migration through the [`Observer`].
#[derive(Debug)]
pub(super) struct LintBackend<'a> {
    pub(super) observer: &'a Observer<'a>,
    /// The quoted name of the schema that the migration runs in.
    pub(super) schema: String,
}

impl LintBackend<'_> {
    /// Replaces the placeholder. Findings show the statement as it was written.
    fn qualified(&self, mut statement: Statement) -> Statement {
        if let Cow::Owned(sql) = replace_placeholder(&statement.sql, &self.schema) {
            statement.sql = sql;
        }
        statement
    }
}

impl Backend for LintBackend<'_> {
    /// Transaction control is a finding.
    const REFUSES_CONTROL: bool = false;

    /// With values, or if rows are returned, PostgreSQL rejects several statements.
    async fn query(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let Some(parsed) = SqlStatement::split(&statement.sql).into_iter().next() else {
            return self.observer.txn.query_all_raw(self.qualified(statement)).await;
        };
        let Some(step) = self.observer.before(parsed, statement).await? else {
            return Ok(Vec::new());
        };
        let done = self.observer.txn.query_all_raw(self.qualified(step.statement.clone())).await;
        self.observer.after(step, done.as_ref().err()).await?;
        done
    }

    #[expect(clippy::disallowed_methods, reason = "SQL of a migration")]
    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let statements = SqlStatement::split(&statement.sql);
        let (backend, mut rows) = (statement.db_backend, 0);
        if !has_no_values(&statement) {
            let Some(parsed) = statements.into_iter().next() else {
                return self.observer.txn.execute_raw(self.qualified(statement)).await;
            };
            let Some(step) = self.observer.before(parsed, statement).await? else {
                return Ok(rows_affected(0));
            };
            let done = self.observer.txn.execute_raw(self.qualified(step.statement.clone())).await;
            self.observer.after(step, done.as_ref().err()).await?;
            return done;
        }
        for parsed in statements {
            let statement = Statement::from_string(backend, parsed.sql.clone());
            let Some(step) = self.observer.before(parsed, statement).await? else { continue };
            let done = self
                .observer
                .txn
                .execute_unprepared(&self.qualified(step.statement.clone()).sql)
                .await;
            self.observer.after(step, done.as_ref().err()).await?;
            rows += done?.rows_affected();
        }
        Ok(rows_affected(rows))
    }

    async fn begin(&mut self) -> Result<(), DbErr> {
        let done = self.observer.savepoint().await;
        self.observer.record_internal_error(done)
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        let done = self.observer.release().await;
        self.observer.record_internal_error(done)
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        let done = self.observer.roll_back().await;
        self.observer.record_internal_error(done)
    }
}

/// Runs a migration in a schema. Returns why it failed, if it did.
pub(super) async fn run_migration(
    observer: &Observer<'_>,
    step: &Step,
    schema: &SchemaName,
) -> Option<String> {
    let mut backend = LintBackend { observer, schema: schema.quoted() };
    proxy::run_migration(step, &mut backend).await.err().map(|halt| match halt {
        Halt::Failed(error) => Error::Database(error).to_string(),
        Halt::TransactionControl(statement) => statement,
        Halt::Panicked(message) => format!("it panicked: {message}"),
    })
}
