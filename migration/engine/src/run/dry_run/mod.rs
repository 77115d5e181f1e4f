//! Printing the statements of a run instead of executing them.

mod script;

use sea_orm::{AccessMode, DatabaseConnection, DatabaseTransaction, TransactionTrait};

use super::{
    commits::{self, begin_next_in, has_deferrable, may_be_needed, run_each},
    create_registry_sql, ensure_no_tenants, recreate_schema_sql,
    schema_guard::SchemaGuard,
    state_in,
};
use crate::{
    Action, DynMigrator, Error, MigrationOutcome, MigrationState, Target,
    citus::keep_local_sql,
    confirm_extensions, is_citus,
    lock::{registry_exists, version_update_sql},
    plan::{Step, plan},
    provision::{ensure_no_dependents, migrations_table_sql, run_all, scratch::ScratchSchema},
    proxy::run_migration,
    registry::compatibility::confirm_known,
    search_path::set_search_path,
    session::roll_back,
    shared,
};
use script::{Answers, Script};

/// Returns the statements that [`run`](fn@crate::run) would execute, as a script with transactions
/// and `search_path`. Empty if there is nothing to do.
///
/// Reads of a migration (does this column exist?) are executed in a read-only transaction; other
/// statements are not. If a migration reads what an earlier one creates or inserts, all of them run
/// in a scratch schema, in a transaction that is rolled back. Then the script begins with a comment
/// about that: the scratch schema has only the rows that migrations insert.
///
/// If PostgreSQL may need a commit between two migrations ([`DbErrorKind::NeedsCommit`](crate::DbErrorKind)),
/// the script has one after each, and the scratch schema is dropped instead of rolled back.
///
/// # Errors
/// As for [`run`](fn@crate::run), and [`Error::NotPrintable`] if a migration fails in the scratch
/// schema, too.
pub async fn dry_run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
    action: &Action,
) -> Result<Vec<String>, Error> {
    shared::ensure_not_shared(target, migrator)?;
    confirm_extensions(db, migrator).await?;
    let reader = db.begin_with_config(None, Some(AccessMode::ReadOnly)).await?;
    let registry = registry_exists(&reader).await?;
    if *target == Target::Registry && registry && !matches!(action, Action::Up(_)) {
        ensure_no_tenants(&reader).await?;
        if !matches!(action, Action::Fresh { .. }) {
            confirm_known(&reader, target, migrator).await?;
        }
    }
    if let Target::Shared(_) = target {
        if !matches!(action, Action::Up(_) | Action::Fresh { .. }) {
            confirm_known(&reader, target, migrator).await?;
        }
        shared::ensure_not_of_tenant(&reader, target).await?;
    }
    let entered = set_search_path(&reader, target, migrator).await;
    let mut created = false;
    let state = match (entered, action) {
        // The run creates the schema of what exists once.
        (Err(Error::MissingRegistry | Error::MissingShared { .. }), Action::Up(_)) => {
            created = true;
            MigrationState::empty(migrator)
        }
        (Ok(_), Action::Fresh { cascade }) => {
            if !cascade {
                ensure_no_dependents(&reader, target).await?;
            }
            MigrationState::empty(migrator)
        }
        (entered, _) => {
            entered?;
            state_in(&reader, target, migrator).await?
        }
    };
    let is_once = !matches!(target, Target::Schema(_));
    let citus = is_once && is_citus(&reader).await?;
    let mut run =
        DryRun { target, migrator, action, state, created, registry, citus, commits: false };
    if run.steps()?.is_empty() && !matches!(action, Action::Fresh { .. }) {
        return Ok(Vec::new());
    }
    let deferrable = has_deferrable(&reader, target).await?;
    let may_need_commits = |sql: &[String]| deferrable || may_be_needed(sql);
    let mut script = Script::new(target, migrator, Answers::Reader(&reader));
    let mut written = run.write(&mut script).await;
    if written.is_ok() && may_need_commits(&script.sql) {
        run.commits = true;
        script = Script::new(target, migrator, Answers::Reader(&reader));
        written = run.write(&mut script).await;
    }
    match written {
        Err(Error::NotPrintable { .. } | Error::Panicked { .. }) if *target != Target::Registry => {
        }
        Err(error) => return Err(error),
        Ok(()) if script.is_answered() => {
            let sql = script.sql;
            roll_back(reader).await?;
            return Ok(sql);
        }
        Ok(()) => {}
    }
    roll_back(reader).await?;
    let txn = db.begin().await?;
    loop {
        let mut scratch = ScratchSchema::create(&txn, "dry_run", migrator).await?;
        scratch.committed = run.commits;
        let sql = run.in_scratch_schema(&txn, &scratch.target).await;
        let sql = scratch.end(sql).await;
        let again = match &sql {
            Ok(sql) => may_need_commits(sql),
            Err(error) => commits::are_needed(error),
        };
        if run.commits || !again {
            txn.rollback().await?;
            return sql;
        }
        run.commits = true;
    }
}

struct DryRun<'a> {
    target: &'a Target,
    migrator: &'a DynMigrator,
    action: &'a Action,
    state: MigrationState,
    /// Whether the run creates the schema.
    created: bool,
    /// Whether there is a registry to update.
    registry: bool,
    /// Whether a schema that is created must be kept on the coordinator.
    citus: bool,
    /// Whether to commit after each migration.
    commits: bool,
}

impl DryRun<'_> {
    fn steps(&self) -> Result<Vec<Step>, Error> {
        plan(self.migrator, &self.state, self.action)
    }

    /// Writes the script while the migrations run in a scratch schema.
    async fn in_scratch_schema(
        &self,
        txn: &DatabaseTransaction,
        scratch: &Target,
    ) -> Result<Vec<String>, Error> {
        let applied = MigrationState { applied: Vec::new(), pending: self.state.applied.clone() };
        let before = plan(self.migrator, &applied, &Action::Up(None))?;
        let guard = if self.commits {
            run_each(txn, scratch, self.migrator, before).await?;
            begin_next_in(txn, scratch, self.migrator).await?;
            SchemaGuard::begin(txn, scratch, self.migrator).await?
        } else {
            run_all(txn, scratch, self.migrator, before, None).await?
        };
        let mut script = Script::new(self.target, self.migrator, Answers::Scratch { txn, guard });
        script.sql.push(
            "-- These statements were captured in an empty schema, because some migrations read what \
             others create. Statements that depend on a tenant's rows will differ."
                .to_owned(),
        );
        self.write(&mut script).await?;
        Ok(script.sql)
    }

    async fn write(&self, script: &mut Script<'_>) -> Result<(), Error> {
        let Self { target, migrator, action, .. } = *self;
        let (mut state, mut outcome) = (self.state.clone(), MigrationOutcome::default());
        script.begin_transaction();
        if self.citus {
            script.sql.push(keep_local_sql());
        }
        match (target, action) {
            (_, Action::Fresh { .. }) => script.sql.extend(recreate_schema_sql(target)),
            (Target::Registry, Action::Up(_)) => script.sql.push(create_registry_sql()),
            _ if self.created => script.sql.push(shared::create_sql(target)),
            _ => {}
        }
        script.set_search_path(true);
        if state.applied.is_empty() {
            script.write(&migrations_table_sql(migrator));
        }
        let mut steps = self.steps()?.into_iter().peekable();
        while let Some(step) = steps.next() {
            if !step.is_transactional() {
                script.sql.push("COMMIT".to_owned());
                script.set_search_path(false);
            }
            script.transactional = step.is_transactional();
            run_migration(&step, script).await.map_err(|halt| match step.halted(target, halt) {
                Error::Migration { schema, migration, source, .. } => {
                    Error::NotPrintable { schema, migration, source }
                }
                error => error,
            })?;
            if !step.is_transactional() {
                script.sql.push("RESET search_path".to_owned());
                script.begin_transaction();
                script.set_search_path(true);
            }
            script.sql.push(step.row_sql(migrator));
            script.record(&step, migrator).await?;
            step.apply_to(&mut state, &mut outcome);
            if self.commits && steps.peek().is_some() {
                script.commit(migrator).await?;
                // A non-transactional one is preceded by a commit anyway.
                if steps.peek().is_some_and(Step::is_transactional) {
                    script.sql.push("COMMIT".to_owned());
                    script.begin_transaction();
                    script.set_search_path(true);
                }
            }
        }
        if self.registry && matches!(target, Target::Schema(_)) {
            script.sql.push(version_update_sql(target, &state, migrator));
        }
        script.sql.push("COMMIT".to_owned());
        Ok(())
    }
}
