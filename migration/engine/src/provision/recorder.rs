//! What migrations send, written down while they run in a scratch schema.
//!
//! All migrations run in a schema of no tenant, in a transaction that is rolled back, and that
//! twice. A migration that sends the same statements and is given the same answers both times sends
//! them to every new schema, so they are kept and the migration need not run again. Where the two
//! runs differ – an id or the time is part of a statement – the migration runs for each schema.

use std::hash::{DefaultHasher, Hash, Hasher};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Schema,
    Statement, TransactionTrait,
    sea_query::PostgresQueryBuilder,
    sqlx::{Column, Row, TypeInfo, ValueRef},
};
use sea_orm_migration::{MigratorTraitSelf, seaql_migrations};

use crate::{
    DbErrorKind, DynMigrator, Error,
    plan::{Step, all_up},
    provision::scratch::ScratchSchema,
    provision::{execute_batch, run_all},
    proxy::{Backend, InTransaction, in_one, is_plain},
    sql::effect::{asks_for_schema, is_pure_read, reads_strings_otherwise},
    sql::{SqlStatement, names_schema},
};

/// One run of all migrations in a scratch schema.
#[derive(Debug)]
pub struct Rehearsal(pub(crate) Result<Vec<CapturedMigration>, String>);

/// What one migration sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CapturedMigration {
    pub(crate) sent: Vec<CapturedStatement>,
    /// Why the statements are not all that the migration does.
    pub(crate) refused: Option<String>,
}

impl CapturedMigration {
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.sent.iter().flat_map(|sent| &sent.pieces).map(String::as_str)
    }
}

/// A text that was sent, with its values as literals, and what it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapturedStatement {
    pub(crate) pieces: Vec<String>,
    /// A hash of the answer.
    answer: u64,
    /// Of a read that changes nothing, the hash of its rows as [`digest_of`] computes it.
    pub(crate) read: Option<String>,
    /// Whether the rows may be others in another schema or later: it names a schema beside the
    /// tenant's, or asks for the name of that.
    pub(crate) elsewhere: bool,
}

/// Runs all migrations in a scratch schema, for [`DynMigrator::record`]. Nothing is left of it.
/// Whatever the migrations do outside the database happens.
///
/// A migration that fails is no error here, as it fails in the same way when a schema is made.
///
/// # Errors
/// [`Error::Database`] and others that may pass, such as a connection that is lost.
pub async fn rehearse(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<Rehearsal, Error> {
    let txn = db.begin().await?;
    let rehearsal = rehearse_in(&txn, migrator).await;
    txn.rollback().await?;
    rehearsal
}

/// [`rehearse`] in a transaction. All that was done in it is rolled back.
///
/// # Errors
/// As for [`rehearse`].
pub async fn rehearse_in(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Rehearsal, Error> {
    rehearse_steps(txn, migrator, Vec::new(), all_up(migrator)).await
}

/// [`rehearse_in`] for these steps, in a schema in which those of `before` were run.
pub(crate) async fn rehearse_steps(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
    before: Vec<Step>,
    steps: Vec<Step>,
) -> Result<Rehearsal, Error> {
    let scratch = ScratchSchema::begin(txn, "recording", migrator).await?;
    let mut tracks = Vec::with_capacity(steps.len());
    let run = async {
        if !before.is_empty() {
            run_all(txn, &scratch.target, migrator, before, None).await?;
        }
        let ran = run_all(txn, &scratch.target, migrator, steps, Some(&mut tracks)).await;
        ran.map(drop)
    };
    let run = run.await;
    match scratch.end(run).await {
        Ok(()) => Ok(Rehearsal(Ok(tracks))),
        Err(error) if error.db_error_kind().as_ref().is_some_and(passes) => Err(error),
        Err(error) => Ok(Rehearsal(Err(error.to_string()))),
    }
}

/// Whether the next try may go better.
fn passes(fault: &DbErrorKind) -> bool {
    !matches!(
        fault,
        DbErrorKind::Unique(_)
            | DbErrorKind::ForeignKey(_)
            | DbErrorKind::UndefinedTable
            | DbErrorKind::NeedsCommit
            | DbErrorKind::DuplicateObject
            | DbErrorKind::InsufficientPrivilege
            | DbErrorKind::Other
    )
}

/// The statement that makes the migrations table.
pub(crate) fn record_install(migrator: &DynMigrator) -> String {
    let mut table =
        Schema::new(DbBackend::Postgres).create_table_from_entity(seaql_migrations::Entity);
    table.table(migrator.migration_table_name()).if_not_exists();
    joined([table.to_string(PostgresQueryBuilder)])
}

/// Several statements as one text. Each ends on a line of its own, as it may end with a comment.
pub(crate) fn joined(sql: impl IntoIterator<Item = String>) -> String {
    sql.into_iter().map(|sql| sql + "\n;\n").collect()
}

/// A query for a hash of the rows that `read` returns.
pub(crate) fn digest_of(read: &str) -> String {
    format!("SELECT md5(coalesce(string_agg(q::text, ';'), '')) FROM (\n{read}\n) q")
}

/// Runs a migration in a transaction and writes down what it sends.
pub(crate) struct Recorder<'a, C> {
    txn: &'a C,
    inner: InTransaction<'a, C>,
    /// Whether the migration asks to run outside a transaction.
    alone: bool,
    /// The migrations table, which a recording writes after the statements.
    table: String,
    track: CapturedMigration,
}

impl<'a, C: ConnectionTrait> Recorder<'a, C> {
    pub(crate) fn new(
        txn: &'a C,
        inner: InTransaction<'a, C>,
        step: &Step,
        migrator: &DynMigrator,
    ) -> Self {
        let table = migrator.migration_table_name().to_string();
        Self { txn, inner, alone: step.alone(), table, track: CapturedMigration::default() }
    }

    /// What was sent. `before` is what the migration before it sent.
    pub(crate) fn end(mut self, before: Option<&CapturedMigration>) -> CapturedMigration {
        // The setting outlives the migration.
        let earlier = before.and_then(|track| track.refused.as_ref());
        if let Some(reason) = earlier.filter(|reason| *reason == STRINGS) {
            self.track.refused = Some(reason.clone());
        }
        self.track
    }

    fn refuse(&mut self, reason: impl Into<String>) {
        self.track.refused.get_or_insert(reason.into());
    }

    /// The text of a statement, in which the placeholder still stands.
    async fn text(&self, statement: &Statement) -> Result<String, DbErr> {
        if is_plain(statement) {
            let sql = &statement.sql;
            return Ok(in_one(sql).filter(|_| self.alone).unwrap_or_else(|| sql.clone()));
        }
        Ok(with_literals(&statement.sql, &literals(self.txn, statement).await?))
    }

    /// The hash of the rows of a read that changes nothing; None of any other statement, and where
    /// the rows cannot be written as text.
    async fn read(&self, pieces: &[SqlStatement]) -> Result<Option<String>, DbErr> {
        let [read] = pieces else { return Ok(None) };
        if !is_pure_read(read) {
            return Ok(None);
        }
        let digest = self.inner.qualified_text(&digest_of(&read.sql));
        execute_batch(self.txn, "SAVEPOINT tenantry_read").await?;
        let row = self.txn.query_one_raw(Statement::from_string(DbBackend::Postgres, digest)).await;
        let Ok(row) = row else {
            execute_batch(self.txn, "ROLLBACK TO SAVEPOINT tenantry_read").await?;
            return Ok(None);
        };
        execute_batch(self.txn, "RELEASE SAVEPOINT tenantry_read").await?;
        row.map(|row| row.try_get_by_index(0)).transpose()
    }

    async fn write(&mut self, text: String, answer: u64, has_rows: bool) -> Result<(), DbErr> {
        let mut pieces = SqlStatement::split(&text);
        pieces.retain(|piece| !piece.is_empty());
        if pieces.iter().any(|piece| piece.sql.contains(&self.table)) {
            self.refuse(format!("it is about {}, which is written last", self.table));
        }
        if pieces.iter().any(reads_strings_otherwise) {
            self.track.refused = Some(STRINGS.to_owned());
        }
        let read = self.read(&pieces).await?;
        let elsewhere = names_schema(&text) || pieces.iter().any(asks_for_schema);
        if elsewhere && has_rows && read.is_none() {
            self.refuse("it reads another schema, or the name of its own");
        }
        let pieces = pieces.into_iter().map(|piece| piece.sql).collect();
        self.track.sent.push(CapturedStatement { pieces, answer, read, elsewhere });
        Ok(())
    }
}

const STRINGS: &str = "it changes how PostgreSQL reads strings";

impl<C: ConnectionTrait> Backend for Recorder<'_, C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let text = self.text(&statement).await?;
        let rows = self.inner.query(statement).await;
        match &rows {
            Ok(rows) => self.write(text, hash_of(rows)?, true).await?,
            Err(error) => self.refuse(format!("a statement of it fails: {error}")),
        }
        rows
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let text = self.text(&statement).await?;
        let done = self.inner.execute(statement).await;
        match &done {
            Ok(done) => self.write(text, done.rows_affected(), false).await?,
            Err(error) => self.refuse(format!("a statement of it fails: {error}")),
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

/// The values of a statement as PostgreSQL writes them: in quotes, and with their types.
async fn literals(txn: &impl ConnectionTrait, statement: &Statement) -> Result<Vec<String>, DbErr> {
    let count = statement.values.as_ref().map_or(0, |values| values.0.len());
    let columns = (1..=count)
        .map(|n| format!("quote_nullable(${n}::text) || '::' || pg_typeof(${n})::text"))
        .collect::<Vec<_>>();
    // The driver keeps a statement prepared by its text, for the types that it was first sent with.
    let mut text = DefaultHasher::new();
    statement.sql.hash(&mut text);
    let query = Statement {
        sql: format!("SELECT ARRAY[{}] /* {:x} */", columns.join(", "), text.finish()),
        values: statement.values.clone(),
        db_backend: DbBackend::Postgres,
    };
    match txn.query_one_raw(query).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(Vec::new()),
    }
}

/// `sql` with these texts in place of `$1`, `$2` and so on.
fn with_literals(sql: &str, literals: &[String]) -> String {
    let (mut out, mut copied) = (String::with_capacity(sql.len()), 0);
    for token in crate::sql::tokens(sql).filter(|it| it.kind == crate::sql::Kind::Other) {
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

/// A hash of names, types and values, as the server has sent them.
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
    fn values_are_put_where_parameters_stand() {
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
