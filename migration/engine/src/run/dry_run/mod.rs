mod script;

use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, QueryTrait, TransactionTrait,
    sea_query::Expr,
};

use crate::{
    Action, DynMigrator, Error, MigrationState, Target, confirm_extensions, enter,
    lock::{registry_exists, version_update},
    plan::{Step, plan},
    provision::dependents::confirm_no_dependents,
    provision::recorder::record_install,
    provision::run_all,
    provision::scratch::ScratchSchema,
    proxy::act,
    registry::compatibility::confirm_known,
    run::commits::{self, commit_and_enter, has_deferrable, may_be_wanted, run_each},
    run::{create_registry_sql, ensure_no_tenants, recreate_schema_sql, state_within},
    search_path::SchemaGuard,
    session::roll_back,
};
use script::{Answers, Script};

/// The statements by which [`run`](fn@crate::run) would do `action`, without doing it: a script
/// that does the same by hand, transactions and `search_path` included. Empty when there is nothing
/// to do.
///
/// Questions that a migration asks (does this column exist?) are answered by the database in a
/// read-only transaction; everything else is only written down. If a migration asks for what an
/// earlier one makes, or for the rows that it inserts, all of them are run in a scratch schema, in
/// a transaction that is rolled back, and the script begins with a comment that says so: there are
/// no rows in that schema but those that migrations insert.
///
/// If PostgreSQL may want a commit between two migrations ([`DbErrorKind::NeedsCommit`](crate::DbErrorKind)),
/// the script has one after each, and the scratch schema is dropped instead of rolled back.
///
/// # Errors
/// As for [`run`](fn@crate::run); [`Error::NotPrintable`] when a migration fails there, too.
pub async fn dry_run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &DynMigrator,
    action: &Action,
) -> Result<Vec<String>, Error> {
    confirm_extensions(db, migrator).await?;
    let reader = db.begin_with_config(None, Some(AccessMode::ReadOnly)).await?;
    let registry = registry_exists(&reader).await?;
    if *target == Target::Registry && registry && !matches!(action, Action::Up(_)) {
        ensure_no_tenants(&reader).await?;
        if !matches!(action, Action::Fresh { .. }) {
            confirm_known(&reader, migrator).await?;
        }
    }
    let entered = enter(&reader, target, migrator).await;
    let state = match (entered, action) {
        // The registry's schema is made by the run itself.
        (Err(Error::MissingRegistry), Action::Up(_)) => state_of_nothing(migrator),
        (Ok(_), Action::Fresh { cascade }) => {
            if !cascade {
                confirm_no_dependents(&reader, target).await?;
            }
            state_of_nothing(migrator)
        }
        (entered, _) => {
            entered?;
            state_within(&reader, target, migrator).await?
        }
    };
    let mut run = DryRun { target, migrator, action, state, registry, commits: false };
    if run.steps()?.is_empty() && !matches!(action, Action::Fresh { .. }) {
        return Ok(Vec::new());
    }
    let deferrable = has_deferrable(&reader, target).await?;
    let may_need_commits = |sql: &[String]| deferrable || may_be_wanted(sql);
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
        let mut scratch = ScratchSchema::begin(&txn, "dry_run", migrator).await?;
        scratch.committed = run.commits;
        let sql = run.in_scratch_schema(&txn, &scratch.target).await;
        let sql = scratch.end(sql).await;
        let again = match &sql {
            Ok(sql) => may_need_commits(sql),
            Err(error) => commits::are_wanted(error),
        };
        if run.commits || !again {
            txn.rollback().await?;
            return sql;
        }
        run.commits = true;
    }
}

fn state_of_nothing(migrator: &DynMigrator) -> MigrationState {
    MigrationState { applied: Vec::new(), pending: migrator.names() }
}

struct DryRun<'a> {
    target: &'a Target,
    migrator: &'a DynMigrator,
    action: &'a Action,
    state: MigrationState,
    /// Whether there is a registry that would be written to.
    registry: bool,
    /// Whether PostgreSQL may want a commit between two migrations: then there is one after each.
    commits: bool,
}

impl DryRun<'_> {
    fn steps(&self) -> Result<Vec<Step>, Error> {
        plan(self.migrator, &self.state, self.action)
    }

    /// Writes the script with the answers of a schema that is made for it.
    async fn in_scratch_schema(
        &self,
        txn: &DatabaseTransaction,
        scratch: &Target,
    ) -> Result<Vec<String>, Error> {
        let applied = MigrationState { applied: Vec::new(), pending: self.state.applied.clone() };
        let before = plan(self.migrator, &applied, &Action::Up(None))?;
        let watch = if self.commits {
            run_each(txn, scratch, self.migrator, before).await?;
            commit_and_enter(txn, scratch, self.migrator).await?;
            SchemaGuard::begin(txn, scratch, self.migrator).await?
        } else {
            run_all(txn, scratch, self.migrator, before, None).await?
        };
        let mut script = Script::new(self.target, self.migrator, Answers::Scratch { txn, watch });
        script.sql.push(
            "-- the migrations were run in an empty schema, as some of them read what others make: \
             where a statement depends on the rows of a tenant, it is not what is sent to that tenant"
                .to_owned(),
        );
        self.write(&mut script).await?;
        Ok(script.sql)
    }

    async fn write(&self, script: &mut Script<'_>) -> Result<(), Error> {
        let Self { target, migrator, action, .. } = *self;
        let mut state = self.state.clone();
        script.begin_all();
        match (target, action) {
            (_, Action::Fresh { .. }) => script.sql.extend(recreate_schema_sql(target)),
            (Target::Registry, Action::Up(_)) => script.sql.push(create_registry_sql()),
            _ => {}
        }
        script.scope(true);
        if state.applied.is_empty() {
            script.write(&record_install(migrator));
        }
        let mut steps = self.steps()?.into_iter().peekable();
        while let Some(step) = steps.next() {
            if step.alone() {
                script.sql.push("COMMIT".to_owned());
                script.scope(false);
            }
            script.alone = step.alone();
            act(&step, script).await.map_err(|halt| match step.halted(target, halt) {
                Error::Migration { schema, migration, source, .. } => {
                    Error::NotPrintable { schema, migration, source }
                }
                error => error,
            })?;
            if step.alone() {
                script.sql.push("RESET search_path".to_owned());
                script.begin_all();
                script.scope(true);
            }
            script.sql.push(step.note_sql(migrator));
            script.note(&step, migrator).await?;
            step.apply_to(&mut state);
            if self.commits && steps.peek().is_some() {
                script.commit(migrator).await?;
                // One that runs alone is preceded by a commit anyway.
                if steps.peek().is_some_and(|next| !next.alone()) {
                    script.sql.push("COMMIT".to_owned());
                    script.begin_all();
                    script.scope(true);
                }
            }
        }
        if self.registry && *target != Target::Registry {
            let update = version_update(target, &state, migrator, Expr::current_timestamp());
            script.sql.push(update.build(DbBackend::Postgres).to_string());
        }
        script.sql.push("COMMIT".to_owned());
        Ok(())
    }
}
