//! Capturing what a migration sends.

use std::hash::{DefaultHasher, Hash, Hasher};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    sqlx::{Column, Row, TypeInfo, ValueRef},
};
use sea_orm_migration::MigratorTraitSelf;

use super::recording::{CapturedMigration, CapturedStatement};
use crate::{
    DynMigrator,
    plan::Step,
    proxy::{Backend, InTransaction, has_no_values, without_non_transactional},
    sql::{
        Kind, SqlStatement,
        effect::{asks_for_schema, changes_string_syntax, is_pure_read},
        names_schema,
        query::{execute_batch, scalar},
        tokens,
    },
};

const CHANGES_STRING_SYNTAX: &str = "it changes how PostgreSQL reads strings";

/// A query for the MD5 of the rows that `read` returns.
pub(crate) fn digest_sql(read: &str) -> String {
    format!("SELECT md5(coalesce(string_agg(q::text, ';'), '')) FROM (\n{read}\n) q")
}

/// Runs the statements of a migration in a transaction and captures them.
pub(crate) struct SqlRecorder<'a, C> {
    txn: &'a C,
    inner: InTransaction<'a, C>,
    transactional: bool,
    /// Name of the migrations table, which the batch writes after the statements.
    migrations_table: String,
    captured: CapturedMigration,
}

impl<'a, C: ConnectionTrait> SqlRecorder<'a, C> {
    pub(crate) fn new(
        txn: &'a C,
        inner: InTransaction<'a, C>,
        step: &Step,
        migrator: &DynMigrator,
    ) -> Self {
        let migrations_table = migrator.migration_table_name().to_string();
        let (transactional, captured) = (step.is_transactional(), CapturedMigration::default());
        Self { txn, inner, transactional, migrations_table, captured }
    }

    /// The captured statements. `previous` are those of the migration before.
    pub(crate) fn end(mut self, previous: Option<&CapturedMigration>) -> CapturedMigration {
        // The setting outlives the migration that changed it.
        let earlier = previous.and_then(|captured| captured.refused.as_ref());
        if let Some(reason) = earlier.filter(|reason| *reason == CHANGES_STRING_SYNTAX) {
            self.captured.refused = Some(reason.clone());
        }
        self.captured
    }

    fn refuse(&mut self, reason: impl Into<String>) {
        self.captured.refused.get_or_insert(reason.into());
    }

    /// The SQL of a statement with its values as literals, and with the placeholder.
    async fn sql_of(&self, statement: &Statement) -> Result<String, DbErr> {
        if has_no_values(statement) {
            let sql = &statement.sql;
            let changed = without_non_transactional(sql).filter(|_| !self.transactional);
            return Ok(changed.unwrap_or_else(|| sql.clone()));
        }
        Ok(with_literals(&statement.sql, &literals(self.txn, statement).await?))
    }

    /// The digest of the rows of a read without side effects; `None` for any other statement, and
    /// if the rows have no text form.
    async fn digest(&self, statements: &[SqlStatement]) -> Result<Option<String>, DbErr> {
        let [read] = statements else { return Ok(None) };
        if !is_pure_read(read) {
            return Ok(None);
        }
        execute_batch(self.txn, "SAVEPOINT tenantry_read").await?;
        let sql = self.inner.qualify(&digest_sql(&read.sql));
        match scalar(self.txn, sql, []).await {
            Ok(digest) => {
                execute_batch(self.txn, "RELEASE SAVEPOINT tenantry_read").await?;
                Ok(digest)
            }
            Err(_) => {
                execute_batch(self.txn, "ROLLBACK TO SAVEPOINT tenantry_read").await?;
                Ok(None)
            }
        }
    }

    async fn capture(&mut self, sql: String, result: u64, has_rows: bool) -> Result<(), DbErr> {
        let mut statements = SqlStatement::split(&sql);
        statements.retain(|statement| !statement.is_empty());
        if statements.iter().any(|statement| statement.sql.contains(&self.migrations_table)) {
            self.refuse(format!("it uses {}, which is written last", self.migrations_table));
        }
        if statements.iter().any(changes_string_syntax) {
            self.captured.refused = Some(CHANGES_STRING_SYNTAX.to_owned());
        }
        let digest = self.digest(&statements).await?;
        let reads_elsewhere = names_schema(&sql) || statements.iter().any(asks_for_schema);
        if reads_elsewhere && has_rows && digest.is_none() {
            self.refuse("it reads another schema, or the name of its own");
        }
        let sql = statements.into_iter().map(|statement| statement.sql).collect();
        let captured = CapturedStatement { sql, result, digest, reads_elsewhere };
        self.captured.statements.push(captured);
        Ok(())
    }
}

impl<C: ConnectionTrait> Backend for SqlRecorder<'_, C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let sql = self.sql_of(&statement).await?;
        let rows = self.inner.query(statement).await;
        match &rows {
            Ok(rows) => self.capture(sql, hash_of(rows)?, true).await?,
            Err(error) => self.refuse(format!("one of its statements fails: {error}")),
        }
        rows
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let sql = self.sql_of(&statement).await?;
        let done = self.inner.execute(statement).await;
        match &done {
            Ok(done) => self.capture(sql, done.rows_affected(), false).await?,
            Err(error) => self.refuse(format!("one of its statements fails: {error}")),
        }
        done
    }

    async fn begin(&mut self) -> Result<(), DbErr> {
        self.inner.begin().await
    }

    async fn commit(&mut self) -> Result<(), DbErr> {
        self.inner.commit().await
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        self.refuse("it rolls a transaction back");
        self.inner.rollback().await
    }
}

/// The values of a statement as PostgreSQL writes them: quoted, with a cast to their type.
async fn literals(txn: &impl ConnectionTrait, statement: &Statement) -> Result<Vec<String>, DbErr> {
    let count = statement.values.as_ref().map_or(0, |values| values.0.len());
    let columns = (1..=count)
        .map(|n| format!("quote_nullable(${n}::text) || '::' || pg_typeof(${n})::text"))
        .collect::<Vec<_>>();
    // The driver caches prepared statements by their text, with the types of the first values, so
    // the text must differ between statements.
    let mut hash = DefaultHasher::new();
    statement.sql.hash(&mut hash);
    let query = Statement {
        sql: format!("SELECT ARRAY[{}] /* {:x} */", columns.join(", "), hash.finish()),
        values: statement.values.clone(),
        db_backend: DbBackend::Postgres,
    };
    match txn.query_one_raw(query).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(Vec::new()),
    }
}

/// `sql` with literals in place of `$1`, `$2` and so on.
fn with_literals(sql: &str, literals: &[String]) -> String {
    let (mut out, mut copied) = (String::with_capacity(sql.len()), 0);
    for token in tokens(sql).filter(|it| it.kind == Kind::Other) {
        let number =
            sql[token.at.clone()].strip_prefix('$').and_then(|it| it.parse::<usize>().ok());
        let literal = number.and_then(|number| literals.get(number.checked_sub(1)?));
        if let Some(literal) = literal {
            out.push_str(&sql[copied..token.at.start]);
            // A cast binds more closely than any operator.
            out.push_str(&format!("({literal})"));
            copied = token.at.end;
        }
    }
    out.push_str(&sql[copied..]);
    out
}

/// A hash of names, types and values in the wire format.
fn hash_of(rows: &[QueryResult]) -> Result<u64, DbErr> {
    let mut hasher = DefaultHasher::new();
    for row in rows.iter().filter_map(QueryResult::try_as_pg_row) {
        for column in row.columns() {
            (column.name(), column.type_info().name()).hash(&mut hasher);
            let value = row.try_get_raw(column.ordinal());
            let value = value.map_err(|error| DbErr::Type(error.to_string()))?;
            let bytes = (!value.is_null()).then(|| value.as_bytes()).transpose();
            bytes.map_err(|error| DbErr::Type(error.to_string()))?.hash(&mut hasher);
        }
        "row".hash(&mut hasher);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::with_literals;

    #[test]
    fn replaces_parameters_by_literals() {
        let values = ["'a$2'::text".to_owned(), "NULL::int8".to_owned()];
        for (sql, expected) in [
            ("SELECT $2, $1", "SELECT (NULL::int8), ('a$2'::text)"),
            ("SELECT '$1', \"$1\", $$ $1 $$, $3 -- $1", "SELECT '$1', \"$1\", $$ $1 $$, $3 -- $1"),
            ("a=$1::text", "a=('a$2'::text)::text"),
        ] {
            assert_eq!(with_literals(sql, &values), expected);
        }
    }
}
