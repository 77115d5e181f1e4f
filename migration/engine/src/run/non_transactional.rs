//! Migrations that cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr,
    sqlx::{Row, postgres::PgConnectOptions},
};
use sea_orm_migration::MigratorTraitSelf;
use tokio::{sync::OnceCell, time::sleep};

use crate::{
    DbErrorKind, DynMigrator, Error, LockHolder, MigrationState, Target, Timeouts,
    connect::new_mark,
    error::lock_holders::waited_for,
    lint::Rule,
    plan::Step,
    provision::execute_batch,
    proxy::{Halt, OwnSession, act},
    run::invalid_indexes::Indexes,
    run::outside::Before,
    run::state_of,
    search_path::confirm,
    session::notice_lost_client,
};

/// How often the claim's connection is used while the migration runs on another, and after how
/// long without it the server ends the claim: the program was stopped or is cut off.
const PULSE: Duration = Duration::from_millis(500);
const KEEP_CLAIM: &str = "SELECT set_config(name,
        CASE name WHEN 'transaction_timeout' THEN '0' ELSE '60s' END, true)
    FROM pg_catalog.pg_settings
    WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')";

/// The session, and what it says of itself.
const PLACE: &str = "SELECT current_setting('tenantry.session', true),
    current_setting('search_path'), current_schema()::text";

/// Whether each connection has a session of its own. Asked once in a run.
#[derive(Debug, Default)]
pub(crate) struct Sessions(OnceCell<()>);

/// What it takes to run steps of one schema outside a transaction.
pub(crate) struct NonTransactional<'a> {
    pub(crate) db: &'a DatabaseConnection,
    pub(crate) target: &'a Target,
    pub(crate) migrator: &'a DynMigrator,
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) sessions: &'a Sessions,
}

impl NonTransactional<'_> {
    /// Runs one step on a connection of its own, while `claim` holds the claim on another, where it
    /// is recorded when it is done. The state before it: somebody else may have done it.
    ///
    /// An idle transaction that holds only a row lock does not keep a concurrent index build
    /// waiting. So nothing of the schema is read in the claim's transaction.
    pub(crate) async fn run(
        &self,
        claim: &DatabaseTransaction,
        step: &Step,
    ) -> Result<MigrationState, Error> {
        let options = self.db.get_postgres_connection_pool().connect_options();
        execute_batch(claim, KEEP_CLAIM).await?;
        let mut own = OwnSession::open(&options, self.target).await?;
        let (pid, holders) = (own.pid().await?, Mutex::default());
        let session = new_mark();
        let work = async {
            self.prepare(&mut own, &session, &options, step).await?;
            let state = self.state(&mut own).await?;
            if !step.is_satisfied_by(&state) {
                self.execute(&mut own, &session, step).await?;
            }
            Ok(state)
        };
        let state = tokio::select! {
            done = work => done,
            lost = keep(claim, pid, &holders) => lost.map(|never| match never {}),
        };
        let holders = holders.into_inner().unwrap_or_else(PoisonError::into_inner);
        let state = state.map_err(|error| match error.db_error_kind() {
            Some(DbErrorKind::LockTimeout) if !holders.is_empty() => {
                Error::Waited { error: Box::new(error), holders }
            }
            _ => error,
        });
        // A connection on which a statement is under way is cut, and the server gives it up.
        if state.is_ok() {
            own.close().await;
        }
        let state = state?;
        if !step.is_satisfied_by(&state) {
            self.migrator.install(claim).await?;
            step.note(claim, self.migrator).await?;
        }
        Ok(state)
    }

    /// Sets all that the session needs by statements, since poolers drop start-up parameters.
    async fn prepare(
        &self,
        own: &mut OwnSession,
        session: &str,
        options: &PgConnectOptions,
        step: &Step,
    ) -> Result<(), Error> {
        // If the session turns out to be shared, this has done no harm to the others.
        own.send("SELECT set_config('tenantry.session', $1, false)", [session.into()]).await?;
        let asked = self.sessions.0.get_or_try_init(|| self.prove(own, session, options, step));
        asked.await?;
        let mut settings = vec![("search_path", self.migrator.search_path(self.target))];
        let [servers] = own.texts("SELECT current_setting('lock_timeout')").await?;
        settings.extend(self.timeouts.settings());
        for (name, value) in settings {
            own.send("SELECT set_config($1, $2, false)", [name.into(), value.into()]).await?;
        }
        if let Some(time) = Timeouts::setting(self.timeouts.snapshot).or(servers) {
            own.be_patient(time).await?;
        }
        // Or the next run would meet an index that is half built, or valid and on no record.
        own.send(&format!("SELECT {}", notice_lost_client(false)), []).await?;
        self.confirm(own, session, step).await
    }

    /// Refuses when another connection is given the same session.
    async fn prove(
        &self,
        own: &mut OwnSession,
        session: &str,
        options: &PgConnectOptions,
        step: &Step,
    ) -> Result<(), Error> {
        match own.is_shared(session, options).await? {
            true => Err(self.shared(step)),
            false => Ok(()),
        }
    }

    /// Refuses unless the session is the one in which everything was set, and leads to the schema.
    async fn confirm(&self, own: &mut OwnSession, session: &str, step: &Step) -> Result<(), Error> {
        let [kept, path, schema] = own.texts(PLACE).await?;
        if kept.as_deref() != Some(session) {
            return Err(self.shared(step));
        }
        match path {
            Some(found) if found != self.migrator.search_path(self.target) => {
                Err(Error::ScopeLost {
                    schema: self.target.name().to_owned(),
                    migration: step.migration.name().to_owned(),
                    found,
                })
            }
            _ => confirm(self.target, schema.as_deref()),
        }
    }

    fn shared(&self, step: &Step) -> Error {
        let (schema, migration) = (self.target.name().to_owned(), step.migration.name().to_owned());
        Error::SharedSession { schema, migration }
    }

    async fn state(&self, own: &mut OwnSession) -> Result<MigrationState, Error> {
        let table = self.target.table(self.migrator);
        let installed =
            own.send("SELECT 1 WHERE to_regclass($1) IS NOT NULL", [table.clone().into()]);
        let mut recorded = Vec::new();
        if !installed.await?.is_empty() {
            for row in own.send(&format!("SELECT version::text FROM {table}"), []).await? {
                let version = row.try_get(0).map_err(|error| DbErr::Type(error.to_string()))?;
                recorded.push(version);
            }
        }
        state_of(self.target, self.migrator, recorded)
    }

    async fn execute(&self, own: &mut OwnSession, session: &str, step: &Step) -> Result<(), Error> {
        let failed = |source| self.halted(step, Halt::Failed(source));
        let indexes =
            Indexes::begin(own, self.target, self.migrator, step).await.map_err(failed)?;
        indexes.clean_up(own, true).await.map_err(failed)?;
        let before = Before::now(own).await.map_err(failed)?;
        if let Err(halt) = act(step, own).await {
            let error = self.halted(step, halt);
            // The index that was nearly built is of no use, and the next try may come late. (It
            // looks for what is left, too.)
            if error.db_error_kind() == Some(DbErrorKind::LockTimeout)
                && let Err(error) = indexes.clean_up(own, false).await
            {
                tracing::debug!(%error, "an index that is not valid is left until the next try");
            }
            return Err(error);
        }
        indexes.end(own).await.map_err(failed)?;
        let objects = before.made_since(own, self.target.name(), step).await.map_err(failed)?;
        if !objects.is_empty() && !step.suppressions.allows(Rule::OutsideSchema) {
            let schema = self.target.name().to_owned();
            let migration = step.migration.name().to_owned();
            return Err(Error::MadeOutside { schema, migration, objects, rolled_back: false });
        }
        self.confirm(own, session, step).await
    }

    fn halted(&self, step: &Step, halt: Halt) -> Error {
        match step.halted(self.target, halt) {
            Error::Migration { schema, migration, source, .. } => {
                Error::Migration { schema, migration, source, rolled_back: false }
            }
            error => error,
        }
    }
}

/// Uses the claim's connection from time to time, until that fails: to ask for whom the migration's
/// own process waits.
async fn keep(
    claim: &DatabaseTransaction,
    pid: i32,
    holders: &Mutex<Vec<LockHolder>>,
) -> Result<Infallible, Error> {
    loop {
        sleep(PULSE).await;
        let found = waited_for(claim, pid).await?;
        if !found.is_empty() {
            *holders.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }
}
