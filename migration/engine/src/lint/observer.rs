use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use sea_orm::{DatabaseTransaction, DbBackend, DbErr, Statement};
use tenantry_registry::SchemaName;

use super::{
    Rule,
    allow::Suppression,
    catalog_lookup,
    catalog_rules::{catalog_violations, changed_shared_keys, without_primary_key},
    catalog_snapshot::Snapshot,
    token_rules::{self, token_violations},
    violation::{Effect, Violation},
};
use crate::{
    DbErrorKind, DynMigrator, Error, SharedMigrator,
    extension::Extensions,
    proxy::without_non_transactional,
    sql::{
        SqlStatement,
        query::{execute, execute_batch},
    },
};

/// One statement of a migration.
#[derive(Debug, Default)]
pub(super) struct ExecutedStatement {
    pub(super) sql: String,
    pub(super) suppressions: Vec<Suppression>,
    pub(super) violations: Vec<Violation>,
    /// Tables that it left without a primary key, which a later statement may add.
    without_primary_key: Vec<i64>,
}

/// The error of a migration.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) statement: Option<String>,
    pub(super) message: String,
}

/// The statements of a migration.
#[derive(Debug, Default)]
pub(super) struct MigrationTrace {
    pub(super) statements: Vec<ExecutedStatement>,
    /// Suppressions after the last statement.
    pub(super) pending: Vec<Suppression>,
    pub(super) failed: Option<Failure>,
}

impl ExecutedStatement {
    pub(super) fn fire(&mut self, rule: Rule, message: String) {
        self.violations.push(Violation { rule, message });
    }

    fn name_others(&mut self, named: Vec<String>) {
        for name in named {
            self.fire(Rule::SchemaQualified, format!("names {name}"));
        }
    }
}

impl MigrationTrace {
    /// Adds a finding about the migration as a whole to its last statement, so that it can be
    /// allowed there.
    pub(super) fn fire(&mut self, rule: Rule, message: String) {
        let allows = |sent: &ExecutedStatement| sent.suppressions.iter().any(|it| it.covers(rule));
        if self.statements.is_empty() {
            self.statements.push(ExecutedStatement::default());
        }
        let index = self.statements.iter().position(allows).unwrap_or(self.statements.len() - 1);
        self.statements[index].fire(rule, message);
    }

    /// Whether a violation already explains a different result in the second schema.
    pub(super) fn explains_difference(&self) -> bool {
        let explains = [Rule::OutsideSchema, Rule::SchemaQualified, Rule::SearchPath];
        self.statements
            .iter()
            .flat_map(|it| &it.violations)
            .any(|violation| explains.contains(&violation.rule))
    }
}

/// Examines the statements of migrations before and after they are executed.
#[derive(Debug)]
pub(super) struct Observer<'a> {
    pub(super) txn: &'a DatabaseTransaction,
    pub(super) schema: &'a SchemaName,
    /// The schema in which each migration runs a second time.
    pub(super) second: &'a SchemaName,
    /// Whether a statement failed that may succeed after a commit.
    pub(super) wants_commit: AtomicBool,
    extensions: Extensions,
    /// The schema of the tables that exist once.
    shared: Option<&'a SchemaName>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the current migration runs in a transaction.
    transactional: bool,
    /// Whether it runs in the second schema, where only its failure counts.
    unobserved: bool,
    start: Arc<Snapshot>,
    now: Arc<Snapshot>,
    observed: MigrationTrace,
    /// An error of the check itself.
    internal_error: Option<DbErr>,
    /// Open transactions of the migration, and whether each is a savepoint: after an error, none can
    /// be created.
    open: Vec<bool>,
    /// How many were open when a statement failed.
    failed_in: usize,
}

/// A statement that is being executed.
pub(super) struct Step {
    parsed: SqlStatement,
    /// The statement to execute, without `CONCURRENTLY`.
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
        migrator: &'a DynMigrator,
    ) -> Self {
        let extensions = migrator.declared().clone();
        let shared = migrator.shared().map(SharedMigrator::schema);
        let (wants_commit, state) = (AtomicBool::new(false), Mutex::default());
        Self { txn, schema, second, wants_commit, extensions, shared, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a migration.
    pub(super) async fn begin(&self, transactional: bool) -> Result<(), DbErr> {
        let now = Arc::new(self.snapshot().await?);
        *self.state() = State { transactional, start: Arc::clone(&now), now, ..State::default() };
        Ok(())
    }

    /// Starts a migration in the second schema.
    pub(super) fn begin_unobserved(&self, transactional: bool) {
        *self.state() = State { transactional, unobserved: true, ..State::default() };
    }

    async fn snapshot(&self) -> Result<Snapshot, DbErr> {
        Snapshot::take(self.txn, self.schema, self.second, self.shared).await
    }

    /// Ends a migration; `error` is its failure.
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
            for table in state.now.tables().filter(|table| !table.has_primary_key) {
                let culprit = observed
                    .statements
                    .iter_mut()
                    .rfind(|it| it.without_primary_key.contains(&table.oid));
                if let Some(sent) = culprit {
                    let message = format!("table {} has no primary key", table.name);
                    sent.fire(Rule::PrimaryKey, message);
                }
            }
        }
        Ok(state.observed)
    }

    /// Examines a statement before it is executed. `None` if it must not be.
    pub(super) async fn before(
        &self,
        parsed: SqlStatement,
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
        suppressions
            .extend(parsed.comments.iter().filter_map(|comment| Suppression::read(comment)));
        if parsed.is_empty() {
            self.state().observed.pending = suppressions;
            return Ok(None);
        }
        let sql = statement.to_string();
        let mut sent = ExecutedStatement {
            sql,
            suppressions,
            violations: token_violations(&parsed, transactional),
            ..ExecutedStatement::default()
        };
        let extension = self.extensions.refusal(&parsed);
        if let Some(message) = &extension {
            sent.fire(Rule::Extension, message.clone());
        }
        let in_one = match transactional {
            true => parsed.concurrently().map(|index| parsed.remove_token(index)),
            false => without_non_transactional(&parsed.sql),
        };
        let skipped = extension.is_some()
            || parsed.is_transaction_control()
            || in_one.as_ref().is_some_and(String::is_empty);
        if skipped {
            self.state().observed.statements.push(sent);
            return Ok(None);
        }
        if let Some(message) = parsed.needs_client() {
            self.fail(sent, message.clone());
            return Err(DbErr::Custom(message));
        }
        let statement = match in_one {
            Some(sql) => Statement::from_string(DbBackend::Postgres, sql),
            None => statement,
        };
        if unobserved {
            let (others, named) = (Vec::new(), Vec::new());
            return Ok(Some(Step { parsed, statement, sent, others, named }));
        }
        let calls = token_rules::called_in_write(&parsed);
        for function in
            self.record_internal_error(catalog_lookup::volatile(self.txn, &calls).await)?
        {
            let message = format!("calls {function}(), which is volatile");
            sent.fire(Rule::VolatileFunction, message);
        }
        let others = token_rules::dotted(&parsed);
        let named =
            self.record_internal_error(catalog_lookup::in_other_schemas(self.txn, &others).await)?;
        Ok(Some(Step { parsed, statement, sent, others, named }))
    }

    /// Examines the effects of a statement.
    pub(super) async fn after(&self, step: Step, error: Option<&DbErr>) -> Result<(), DbErr> {
        let Step { parsed, mut sent, others, mut named, .. } = step;
        if error.is_none() {
            named.extend(self.record_internal_error(
                catalog_lookup::in_other_schemas(self.txn, &others).await,
            )?);
            named.sort();
            named.dedup();
        }
        if let Some(error) = error {
            sent.name_others(named);
            if DbErrorKind::of(error) == DbErrorKind::NeedsCommit {
                self.wants_commit.store(true, Ordering::Relaxed);
            }
            let message = Error::Database(error.clone()).to_string();
            self.fail(sent, message);
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
        let keys = changed_shared_keys(&before, &now);
        named.retain(|name| !keys.contains(name.as_str()));
        sent.name_others(named);
        sent.violations.extend(catalog_violations(&Effect {
            statement: &parsed,
            start: &start,
            before: &before,
            after: &now,
        }));
        sent.without_primary_key = without_primary_key(&before, &now);
        if now.search_path != before.search_path {
            // Later statements are examined as if it had not changed.
            self.record_internal_error(self.set_search_path(&before.search_path).await)?;
            now.search_path.clone_from(&before.search_path);
        }
        let mut state = self.state();
        state.now = Arc::new(now);
        state.observed.statements.push(sent);
        Ok(())
    }

    /// The migration begins a transaction: a savepoint of the check's transaction.
    pub(super) async fn savepoint(&self) -> Result<(), DbErr> {
        let usable = self.state().observed.failed.is_none();
        self.state().open.push(usable);
        if usable { execute_batch(self.txn, "SAVEPOINT migration_check").await } else { Ok(()) }
    }

    /// The migration commits its innermost transaction.
    pub(super) async fn release(&self) -> Result<(), DbErr> {
        let usable = self.state().observed.failed.is_none();
        let is_savepoint = self.state().open.pop() == Some(true);
        if usable && is_savepoint {
            execute_batch(self.txn, "RELEASE SAVEPOINT migration_check").await?;
        }
        Ok(())
    }

    /// The migration rolls back its innermost transaction, and a failure in it.
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

    fn fail(&self, sent: ExecutedStatement, message: String) {
        let mut state = self.state();
        state.observed.failed = Some(Failure { statement: Some(sent.sql.clone()), message });
        state.observed.statements.push(sent);
        state.failed_in = state.open.len();
    }

    async fn set_search_path(&self, path: &str) -> Result<(), DbErr> {
        execute(self.txn, "SELECT set_config('search_path', $1, true)", [path.into()]).await
    }

    /// Records an error of the check itself, as opposed to one of the migration.
    pub(super) fn record_internal_error<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        result.inspect_err(|error| self.state().internal_error = Some(error.clone()))
    }
}
