//! Migrations that cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sea_orm::{DatabaseConnection, DatabaseTransaction, sqlx::postgres::PgConnectOptions};
use sea_orm_migration::MigratorTraitSelf;
use tokio::{sync::OnceCell, time::sleep};

use super::{invalid_indexes::InvalidIndexes, outside::StartOfMigration};
use crate::{
    DbErrorKind, DynMigrator, Error, LockHolder, MigrationState, Target, Timeouts,
    connect::new_mark,
    error::lock_holders::waited_for,
    lint::Rule,
    plan::Step,
    proxy::{Halt, OwnSession, run_migration},
    search_path::ensure_current_schema,
    session::notice_lost_client,
    sql::query::execute_batch,
};

/// Interval of queries on the locking connection while the migration runs on another one. Without
/// them the server ends the lock: the program was stopped or is unreachable.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
const EXTEND_LIMITS: &str = "SELECT set_config(name,
        CASE name WHEN 'transaction_timeout' THEN '0' ELSE '60s' END, true)
    FROM pg_catalog.pg_settings
    WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')";

const SESSION: &str = "SELECT current_setting('tenantry.session', true),
    current_setting('search_path'), current_schema()::text";

/// Check that every connection has its own session on the server; done once in a run.
#[derive(Debug, Default)]
pub(crate) struct SessionCheck(OnceCell<()>);

/// Runs steps of one schema outside a transaction.
pub(super) struct NonTransactional<'a> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) target: &'a Target,
    pub(super) migrator: &'a DynMigrator,
    pub(super) timeouts: &'a Timeouts,
    pub(super) sessions: &'a SessionCheck,
}

impl NonTransactional<'_> {
    /// Runs one step on a separate connection, unless another run has done it. `lock` is the
    /// transaction that holds the lock; the step is recorded in it. Returns the state before.
    ///
    /// A concurrent index build does not wait for an idle transaction that holds only a row lock.
    /// So the lock's transaction reads nothing of the schema.
    pub(super) async fn execute(
        &self,
        lock: &DatabaseTransaction,
        step: &Step,
    ) -> Result<MigrationState, Error> {
        let options = self.db.get_postgres_connection_pool().connect_options();
        execute_batch(lock, EXTEND_LIMITS).await?;
        let mut own = OwnSession::open(&options, self.target).await?;
        let (pid, holders) = (own.pid().await?, Mutex::default());
        let session = new_mark();
        let work = async {
            self.prepare(&mut own, &session, &options, step).await?;
            let state = self.state(&mut own).await?;
            if !step.is_satisfied_by(&state) {
                self.run(&mut own, &session, step).await?;
            }
            Ok(state)
        };
        let state = tokio::select! {
            done = work => done,
            lost = keep_alive(lock, pid, &holders) => lost.map(|never| match never {}),
        };
        let holders = holders.into_inner().unwrap_or_else(PoisonError::into_inner);
        let state = state.map_err(|error| match error.db_error_kind() {
            Some(DbErrorKind::LockTimeout) if !holders.is_empty() => {
                Error::Waited { error: Box::new(error), holders }
            }
            _ => error,
        });
        // After an error the connection is dropped, so that the server cancels its statement.
        if state.is_ok() {
            own.close().await;
        }
        let state = state?;
        if !step.is_satisfied_by(&state) {
            self.migrator.install(lock).await?;
            execute_batch(lock, &step.row_sql(self.migrator)).await?;
        }
        Ok(state)
    }

    /// Sets everything by statements, because poolers drop startup parameters.
    async fn prepare(
        &self,
        own: &mut OwnSession,
        session: &str,
        options: &PgConnectOptions,
        step: &Step,
    ) -> Result<(), Error> {
        // Harmless to other clients if the session turns out to be shared.
        own.send("SELECT set_config('tenantry.session', $1, false)", [session.into()]).await?;
        let check =
            self.sessions.0.get_or_try_init(|| self.ensure_not_shared(own, session, options, step));
        check.await?;
        let mut settings = vec![("search_path", self.target.search_path(self.migrator))];
        let [default] = own.texts("SELECT current_setting('lock_timeout')", []).await?;
        settings.extend(self.timeouts.settings());
        for (name, value) in settings {
            own.send("SELECT set_config($1, $2, false)", [name.into(), value.into()]).await?;
        }
        if let Some(time) = Timeouts::setting(self.timeouts.snapshot).or(default) {
            own.set_concurrently_timeout(time).await?;
        }
        // Otherwise the next run could meet a half-built index, or a valid one that is not recorded.
        own.send(&format!("SELECT {}", notice_lost_client(false)), []).await?;
        self.ensure_session(own, session, step).await
    }

    async fn ensure_not_shared(
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

    /// Returns an error unless the session is the prepared one, with the schema in `search_path`.
    async fn ensure_session(
        &self,
        own: &mut OwnSession,
        session: &str,
        step: &Step,
    ) -> Result<(), Error> {
        let [mark, path, schema] = own.texts(SESSION, []).await?;
        if mark.as_deref() != Some(session) {
            return Err(self.shared(step));
        }
        match path {
            Some(found) if found != self.target.search_path(self.migrator) => {
                let (schema, migration) = self.names(step);
                Err(Error::SearchPathChanged { schema, migration, found })
            }
            _ => ensure_current_schema(self.target, schema.as_deref()),
        }
    }

    fn names(&self, step: &Step) -> (String, String) {
        (self.target.name().to_owned(), step.migration.name().to_owned())
    }

    fn shared(&self, step: &Step) -> Error {
        let (schema, migration) = self.names(step);
        Error::SharedSession { schema, migration }
    }

    async fn state(&self, own: &mut OwnSession) -> Result<MigrationState, Error> {
        let table = self.target.migrations_table(self.migrator);
        let [installed] = own.texts("SELECT to_regclass($1)::text", [table.clone().into()]).await?;
        let rows = match installed {
            Some(_) => own.column(&format!("SELECT version::text FROM {table}"), []).await?,
            None => Vec::new(),
        };
        MigrationState::of(self.target, self.migrator, rows)
    }

    async fn run(&self, own: &mut OwnSession, session: &str, step: &Step) -> Result<(), Error> {
        let failed = |source| self.halted(step, Halt::Failed(source));
        let indexes =
            InvalidIndexes::begin(own, self.target, self.migrator, step).await.map_err(failed)?;
        indexes.clean_up(own, true).await.map_err(failed)?;
        let start = StartOfMigration::now(own).await.map_err(failed)?;
        if let Err(halt) = run_migration(step, own).await {
            let error = self.halted(step, halt);
            // Drops the incomplete index now, because the next attempt may come late. That attempt
            // cleans up as well.
            if error.db_error_kind() == Some(DbErrorKind::LockTimeout)
                && let Err(error) = indexes.clean_up(own, false).await
            {
                tracing::debug!(%error, "an invalid index stays until the next attempt");
            }
            return Err(error);
        }
        indexes.end(own).await.map_err(failed)?;
        let objects = start.created_since(own, self.target.name(), step).await.map_err(failed)?;
        if !objects.is_empty() && !step.suppressions.allows(Rule::OutsideSchema) {
            let (schema, migration) = self.names(step);
            return Err(Error::CreatedOutside { schema, migration, objects, rolled_back: false });
        }
        self.ensure_session(own, session, step).await
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

/// Queries on the locking connection, until that fails, which sessions the migration waits for.
async fn keep_alive(
    lock: &DatabaseTransaction,
    pid: i32,
    holders: &Mutex<Vec<LockHolder>>,
) -> Result<Infallible, Error> {
    loop {
        sleep(KEEP_ALIVE).await;
        let found = waited_for(lock, pid).await?;
        if !found.is_empty() {
            *holders.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }
}
