use std::borrow::Cow;

use sea_orm::{ConnectionTrait, DbErr, ExecResult, QueryResult, Statement};

use super::{Backend, has_no_values, rows_affected, without_non_transactional};
use crate::{
    Target,
    sql::{SqlStatement, query::execute_batch, replace_placeholder},
};

/// Sends the statements of a migration in a transaction that belongs to the caller.
pub(crate) struct InTransaction<'a, C> {
    txn: &'a C,
    schema: String,
    /// Whether the migration is transactional.
    transactional: bool,
    savepoints: usize,
    /// Whether several statements of one text are sent one by one.
    one_by_one: bool,
}

impl<'a, C: ConnectionTrait> InTransaction<'a, C> {
    pub(crate) fn new(txn: &'a C, target: &Target, transactional: bool) -> Self {
        Self::within(txn, target, transactional, 0)
    }

    /// [`new`](Self::new), for a migration that has set this number of savepoints.
    pub(crate) fn within(
        txn: &'a C,
        target: &Target,
        transactional: bool,
        savepoints: usize,
    ) -> Self {
        Self { txn, schema: target.quoted(), transactional, savepoints, one_by_one: false }
    }

    /// Sends several statements of one text one by one, for Citus: it refuses several changes of
    /// tables in one message.
    pub(crate) fn one_by_one(self, one_by_one: bool) -> Self {
        Self { one_by_one, ..self }
    }

    /// Replaces the placeholder in `sql` by the schema.
    pub(crate) fn qualify(&self, sql: &str) -> String {
        replace_placeholder(sql, &self.schema).into_owned()
    }

    fn qualified(&self, mut statement: Statement) -> Statement {
        if let Cow::Owned(sql) = replace_placeholder(&statement.sql, &self.schema) {
            statement.sql = sql;
        }
        statement
    }
}

impl<C: ConnectionTrait> Backend for InTransaction<'_, C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.txn.query_all_raw(self.qualified(statement)).await
    }

    #[expect(clippy::disallowed_methods, reason = "SQL of a migration")]
    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut statement = self.qualified(statement);
        if !self.transactional
            && let Some(sql) = without_non_transactional(&statement.sql)
        {
            statement.sql = sql;
        }
        if self.one_by_one && has_no_values(&statement) {
            let mut done = rows_affected(0);
            for one in SqlStatement::split(&statement.sql) {
                if !one.is_empty() {
                    done = self.txn.execute_unprepared(&one.sql).await?;
                }
            }
            Ok(done)
        } else if has_no_values(&statement) {
            self.txn.execute_unprepared(&statement.sql).await
        } else {
            self.txn.execute_raw(statement).await
        }
    }

    async fn begin(&mut self) -> Result<(), DbErr> {
        execute_batch(self.txn, &format!("SAVEPOINT tenantry_{}", self.savepoints)).await?;
        self.savepoints += 1;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        self.savepoints -= 1;
        execute_batch(self.txn, &format!("RELEASE SAVEPOINT tenantry_{}", self.savepoints)).await
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        self.savepoints -= 1;
        let name = format!("tenantry_{}", self.savepoints);
        execute_batch(self.txn, &format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"))
            .await
    }
}
