//! A session on SeaORM's mock instead of a server.

use futures_util::stream::BoxStream;
use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, ExecResult, MockDatabaseConnection, QueryResult,
    Statement, sqlx::postgres::PgQueryResult,
};

/// Sends statements to a mock. The transactions and savepoints of the pool become those of the mock,
/// which it keeps in its log. What the pool sends besides takes no result from the mock.
pub(super) struct MockSession {
    database: DatabaseConnection,
    /// The open savepoints, innermost last.
    savepoints: Vec<String>,
}

impl MockSession {
    pub(super) fn new(database: DatabaseConnection) -> Self {
        Self { database, savepoints: Vec::new() }
    }

    pub(super) fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.mock().execute(statement)
    }

    pub(super) fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.mock().query_one(statement)
    }

    pub(super) fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.mock().query_all(statement)
    }

    pub(super) fn stream(
        &self,
        statement: &Statement,
    ) -> BoxStream<'static, Result<QueryResult, DbErr>> {
        self.mock().fetch(statement)
    }

    /// Executes a batch: one of the application, or a statement of the pool about a transaction,
    /// which the application cannot send.
    pub(super) fn execute_batch(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        if let Some(name) = sql.strip_prefix("SAVEPOINT ") {
            self.savepoints.push(name.to_owned());
            self.mock().begin();
        } else if let Some(name) = sql.strip_prefix("RELEASE SAVEPOINT ") {
            self.end_savepoint(name, MockDatabaseConnection::commit);
        } else if let Some(name) = sql.strip_prefix("ROLLBACK TO SAVEPOINT ") {
            self.end_savepoint(name, MockDatabaseConnection::rollback);
        } else if sql == "BEGIN" || sql.starts_with("BEGIN ") {
            self.mock().begin();
        } else if sql == "COMMIT" {
            self.end_transaction(MockDatabaseConnection::commit);
        } else if sql == "ROLLBACK" {
            self.end_transaction(MockDatabaseConnection::rollback);
        } else if !is_of_pool(sql) {
            return self.mock().execute(Statement::from_string(DbBackend::Postgres, sql));
        }
        Ok(PgQueryResult::default().into())
    }

    /// Ends a savepoint and those inside it.
    fn end_savepoint(&mut self, name: &str, end: fn(&MockDatabaseConnection)) {
        let Some(index) = self.savepoints.iter().position(|open| open == name) else { return };
        for _ in self.savepoints.drain(index..) {
            end(self.database.as_mock_connection());
        }
    }

    fn end_transaction(&mut self, end: fn(&MockDatabaseConnection)) {
        for _ in self.savepoints.drain(..) {
            end(self.database.as_mock_connection());
        }
        end(self.mock());
    }

    fn mock(&self) -> &MockDatabaseConnection {
        self.database.as_mock_connection()
    }
}

/// Whether the pool sends this about a session: a ping, or the settings of a transaction.
fn is_of_pool(sql: &str) -> bool {
    sql.is_empty()
        || ["SET TRANSACTION ", "SET LOCAL statement_timeout = "]
            .iter()
            .any(|it| sql.starts_with(it))
}
