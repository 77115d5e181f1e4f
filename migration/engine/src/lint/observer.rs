use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use tenantry_registry::SchemaName;

use super::{
    Rule,
    allow::Suppression,
    catalog_lookup,
    catalog_rules::{catalog_violations, without_primary_key},
    catalog_snapshot::Snapshot,
    token_rules::{self, token_violations},
    violation::{Effect, Violation},
};
use crate::{
    DbErrorKind, Error, extension::Extensions, proxy::without_non_transactional, sql::SqlStatement,
    sql::query::execute_batch,
};

/// One statement of a migration.
#[derive(Debug, Default)]
pub(super) struct ExecutedStatement {
    pub(super) sql: String,
    pub(super) suppressions: Vec<Suppression>,
    pub(super) violations: Vec<Violation>,
    /// Tables that it left without a primary key. A later statement may mend that.
    without_primary_key: Vec<i64>,
}

/// The end of a migration that failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) statement: Option<String>,
    pub(super) message: String,
}

/// What one migration did.
#[derive(Debug, Default)]
pub(super) struct MigrationTrace {
    pub(super) statements: Vec<ExecutedStatement>,
    /// Acknowledgements that no statement follows.
    pub(super) pending: Vec<Suppression>,
    pub(super) failed: Option<Failure>,
}

impl MigrationTrace {
    /// Adds a finding about the migration as a whole to its last statement, so that it can be
    /// allowed there.
    pub(super) fn fire(&mut self, violations: Violation) {
        let allows = |sent: &ExecutedStatement| {
            sent.suppressions.iter().any(|it| it.covers(violations.rule))
        };
        if self.statements.is_empty() {
            self.statements.push(ExecutedStatement::default());
        }
        let index = self.statements.iter().position(allows).unwrap_or(self.statements.len() - 1);
        self.statements[index].violations.push(violations);
    }

    /// Whether a rule that is broken says already why a second schema may come out differently.
    pub(super) fn explains_difference(&self) -> bool {
        let explains = [Rule::OutsideSchema, Rule::SchemaQualified, Rule::SearchPath];
        self.statements
            .iter()
            .flat_map(|it| &it.violations)
            .any(|violations| explains.contains(&violations.rule))
    }
}

/// Sends the statements of migrations on, and looks at what each did.
#[derive(Debug)]
pub(super) struct Observer<'a> {
    pub(super) txn: &'a DatabaseTransaction,
    pub(super) schema: &'a SchemaName,
    /// The schema in which each migration runs a second time.
    pub(super) second: &'a SchemaName,
    /// Whether a statement was refused that may work after a commit.
    pub(super) wants_commit: AtomicBool,
    extensions: Extensions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the present migration runs in a transaction.
    transactional: bool,
    /// Whether it runs in the second schema, where only its failure counts.
    unobserved: bool,
    start: Arc<Snapshot>,
    now: Arc<Snapshot>,
    observed: MigrationTrace,
    /// An error of the check itself.
    internal_error: Option<DbErr>,
    /// The transactions that the migration has begun, and whether each is a savepoint: where a
    /// statement has failed none can be made.
    open: Vec<bool>,
    /// How many were open when a statement failed.
    failed_in: usize,
}

/// A statement on its way.
pub(super) struct Step {
    piece: SqlStatement,
    /// What to send: without the `CONCURRENTLY` that the transaction of the check refuses.
    pub(super) statement: Statement,
    sent: ExecutedStatement,
    others: Vec<(String, String)>,
    named: Vec<String>,
}

impl<'a> Observer<'a> {
    pub(super) fn new(
        txn: &'a DatabaseTransaction,
        schema: &'a SchemaName,
        second: &'a SchemaName,
        extensions: Extensions,
    ) -> Self {
        let (wants_commit, state) = (AtomicBool::new(false), Mutex::default());
        Self { txn, schema, second, wants_commit, extensions, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A migration begins.
    pub(super) async fn begin(&self, transactional: bool) -> Result<(), DbErr> {
        let now = Arc::new(self.snapshot().await?);
        *self.state() = State { transactional, start: Arc::clone(&now), now, ..State::default() };
        Ok(())
    }

    /// A migration begins in the second schema.
    pub(super) fn begin_unobserved(&self, transactional: bool) {
        *self.state() = State { transactional, unobserved: true, ..State::default() };
    }

    async fn snapshot(&self) -> Result<Snapshot, DbErr> {
        Snapshot::take(self.txn, self.schema, self.second).await
    }

    /// The migration has ended: `error` says why it failed.
    pub(super) fn end(&self, error: Option<String>) -> Result<MigrationTrace, DbErr> {
        let mut state = std::mem::take(&mut *self.state());
        if let Some(internal_error) = state.internal_error {
            return Err(internal_error);
        }
        let observed = &mut state.observed;
        if let (Some(message), None) = (error, &observed.failed) {
            observed.failed = Some(Failure { statement: None, message });
        }
        if observed.failed.is_none() {
            for table in state.now.tables().filter(|table| !table.key) {
                let culprit = observed
                    .statements
                    .iter_mut()
                    .rfind(|it| it.without_primary_key.contains(&table.oid));
                if let Some(sent) = culprit {
                    let message = format!("table {} has no primary key", table.name);
                    sent.violations.push(Violation { rule: Rule::PrimaryKey, message });
                }
            }
        }
        Ok(state.observed)
    }

    /// Looks at a statement before it is sent; None when it is not to be sent.
    pub(super) async fn before(
        &self,
        piece: SqlStatement,
        statement: Statement,
    ) -> Result<Option<Step>, DbErr> {
        if self.state().observed.failed.is_some() {
            let text = "a statement of this migration failed, and the transaction with it";
            return Err(DbErr::Custom(text.to_owned()));
        }
        let (mut suppressions, transactional, unobserved) = {
            let mut state = self.state();
            let pending = std::mem::take(&mut state.observed.pending);
            (pending, state.transactional, state.unobserved)
        };
        suppressions.extend(piece.comments.iter().filter_map(|comment| Suppression::read(comment)));
        if piece.is_empty() {
            self.state().observed.pending = suppressions;
            return Ok(None);
        }
        let sql = statement.to_string();
        let mut sent = ExecutedStatement {
            sql,
            suppressions,
            violations: token_violations(&piece, transactional),
            ..ExecutedStatement::default()
        };
        let extension = self.extensions.refusal(&piece);
        if let Some(message) = &extension {
            sent.violations.push(Violation { rule: Rule::Extension, message: message.clone() });
        }
        let in_one = match transactional {
            true => piece.concurrently().map(|index| piece.remove_token(index)),
            false => without_non_transactional(&piece.sql),
        };
        let skipped = extension.is_some()
            || piece.is_transaction_control()
            || in_one.as_ref().is_some_and(String::is_empty);
        if skipped {
            self.state().observed.statements.push(sent);
            return Ok(None);
        }
        if let Some(message) = piece.needs_client() {
            let failure = Failure { statement: Some(sent.sql.clone()), message: message.clone() };
            let mut state = self.state();
            state.observed.statements.push(sent);
            state.observed.failed = Some(failure);
            state.failed_in = state.open.len();
            return Err(DbErr::Custom(message));
        }
        let statement = match in_one {
            Some(sql) => Statement::from_string(DbBackend::Postgres, sql),
            None => statement,
        };
        if unobserved {
            let (others, named) = (Vec::new(), Vec::new());
            return Ok(Some(Step { piece, statement, sent, others, named }));
        }
        let calls = token_rules::called_in_write(&piece);
        for function in
            self.record_internal_error(catalog_lookup::volatile(self.txn, &calls).await)?
        {
            let message = format!("it calls {function}(), which is volatile");
            sent.violations.push(Violation { rule: Rule::VolatileFunction, message });
        }
        let others = token_rules::dotted(&piece);
        let named =
            self.record_internal_error(catalog_lookup::in_other_schemas(self.txn, &others).await)?;
        Ok(Some(Step { piece, statement, sent, others, named }))
    }

    /// Looks at what a statement did.
    pub(super) async fn after(&self, step: Step, error: Option<&DbErr>) -> Result<(), DbErr> {
        let Step { piece, mut sent, others, mut named, .. } = step;
        if error.is_none() {
            named.extend(self.record_internal_error(
                catalog_lookup::in_other_schemas(self.txn, &others).await,
            )?);
            named.sort();
            named.dedup();
        }
        for name in named {
            sent.violations.push(Violation {
                rule: Rule::SchemaQualified,
                message: format!("it names {name}"),
            });
        }
        if let Some(error) = error {
            if DbErrorKind::of(error) == DbErrorKind::NeedsCommit {
                self.wants_commit.store(true, Ordering::Relaxed);
            }
            let message = Error::Database(error.clone()).to_string();
            let failure = Failure { statement: Some(sent.sql.clone()), message };
            let mut state = self.state();
            state.observed.statements.push(sent);
            state.observed.failed = Some(failure);
            state.failed_in = state.open.len();
            return Ok(());
        }
        if self.state().unobserved {
            return Ok(());
        }
        let mut now = self.record_internal_error(self.snapshot().await)?;
        let (start, before) = {
            let state = self.state();
            (Arc::clone(&state.start), Arc::clone(&state.now))
        };
        sent.violations.extend(catalog_violations(&Effect {
            piece: &piece,
            start: &start,
            before: &before,
            after: &now,
        }));
        sent.without_primary_key = without_primary_key(&before, &now);
        if now.search_path != before.search_path {
            // What follows is judged as if this had not happened.
            self.record_internal_error(self.set_search_path(&before.search_path).await)?;
            now.search_path.clone_from(&before.search_path);
        }
        let mut state = self.state();
        state.now = Arc::new(now);
        state.observed.statements.push(sent);
        Ok(())
    }

    /// The migration begins a transaction: a savepoint in the one of the check.
    pub(super) async fn savepoint(&self) -> Result<(), DbErr> {
        let alive = self.state().observed.failed.is_none();
        self.state().open.push(alive);
        if alive { execute_batch(self.txn, "SAVEPOINT migration_check").await } else { Ok(()) }
    }

    /// It commits the transaction that it has begun.
    pub(super) async fn release(&self) -> Result<(), DbErr> {
        let alive = self.state().observed.failed.is_none();
        let is_savepoint = self.state().open.pop() == Some(true);
        if alive && is_savepoint {
            execute_batch(self.txn, "RELEASE SAVEPOINT migration_check").await?;
        }
        Ok(())
    }

    /// It rolls back the transaction that it has begun, and with it a failure inside.
    pub(super) async fn roll_back(&self) -> Result<(), DbErr> {
        {
            let mut state = self.state();
            let depth = state.open.len();
            if state.open.pop() != Some(true) {
                return Ok(());
            }
            if state.failed_in >= depth {
                state.observed.failed = None;
            }
        }
        execute_batch(self.txn, "ROLLBACK TO SAVEPOINT migration_check").await?;
        execute_batch(self.txn, "RELEASE SAVEPOINT migration_check").await?;
        if !self.state().unobserved {
            let now = self.snapshot().await?;
            self.state().now = Arc::new(now);
        }
        Ok(())
    }

    async fn set_search_path(&self, path: &str) -> Result<(), DbErr> {
        let sql = "SELECT set_config('search_path', $1, true)";
        let values = [path.into()];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        self.txn.query_one_raw(statement).await?;
        Ok(())
    }

    /// Keeps an error of the check's own questions apart from those of the migration.
    pub(super) fn record_internal_error<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        result.inspect_err(|error| self.state().internal_error = Some(error.clone()))
    }
}
