//! Migration of a tenant in one round trip.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sea_orm::{
    DatabaseConnection, DbErr, Value,
    sea_query::ArrayType,
    sqlx::{AssertSqlSafe, Executor, raw_sql},
};
use tokio::sync::Mutex;

use super::FleetTenant;
use crate::{
    Action, DbErrorKind, DynMigrator, Error, MigrationOutcome, MigrationState, Target, Timeouts,
    db_error::{connection_error, exec_error},
    lock::version_update_sql,
    plan::{Step, plan},
    provision::{join_statements, rehearse},
    session::{notice_lost_client, reset_sql},
    sql::{ASSERTION_FAILED, assert_sql, query::statement, replace_placeholder},
};

/// Runs [recorded](DynMigrator::record) migrations: their SQL is sent in one batch with the lock on
/// the tenant and the update of its registry row. PostgreSQL runs a batch as one transaction.
///
/// If an assumption is wrong (another run holds the lock, the schema has other migrations, a
/// migration would read other rows than when it was recorded), the batch fails with
/// [`ASSERTION_FAILED`] and is rolled back.
pub(super) struct BatchRunner<'a> {
    migrator: &'a DynMigrator,
    action: &'a Action,
    timeouts: Timeouts,
    /// By the version that the tenants have.
    batches: Mutex<HashMap<Option<String>, Option<Arc<Batch>>>>,
    /// Number of tenants that the run works on.
    pub(super) tenants: AtomicUsize,
    /// Cleared when an assumption is wrong: another run works on the same tenants, and each of
    /// them would cause an error in the server's log.
    enabled: AtomicBool,
}

/// For fewer tenants, recording takes longer than running the migrations.
const MIN_TENANTS: usize = 8;

/// SQL for the tenants of one version.
struct Batch {
    before: MigrationState,
    /// The SQL of each migration, and of its row in the migrations table.
    migrations: Vec<(String, String)>,
    after: MigrationState,
    outcome: MigrationOutcome,
}

impl<'a> BatchRunner<'a> {
    pub(super) fn new(migrator: &'a DynMigrator, action: &'a Action, timeouts: Timeouts) -> Self {
        let (batches, tenants) = (Mutex::default(), AtomicUsize::default());
        Self { migrator, action, timeouts, batches, tenants, enabled: AtomicBool::new(true) }
    }

    /// Migrates a tenant. Returns `None` without sending anything if that takes more than a batch.
    ///
    /// After an error, the batch is rolled back. The error does not tell which migration failed.
    pub(super) async fn migrate(
        &self,
        db: &DatabaseConnection,
        tenant: &FleetTenant,
    ) -> Result<Option<MigrationOutcome>, Error> {
        let too_few = self.tenants.load(Ordering::Relaxed) < MIN_TENANTS;
        if too_few || !self.enabled.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(batch) = self.batch_for(db, &tenant.version).await? else { return Ok(None) };
        let sent = send(db, &self.sql(tenant, &batch)).await;
        if let Err(error) = &sent
            && (DbErrorKind::sqlstate(error).as_deref() == Some(ASSERTION_FAILED)
                || DbErrorKind::of(error) == DbErrorKind::NeedsCommit)
        {
            self.enabled.store(false, Ordering::Relaxed);
        }
        sent?;
        Ok(Some(batch.outcome.clone()))
    }

    fn sql(&self, tenant: &FleetTenant, batch: &Batch) -> String {
        let target = Target::Schema(tenant.schema.clone());
        let with_values = |sql: &str, values: Vec<Value>| statement(sql, values).to_string();
        let key = [tenant.id.into(), tenant.schema.clone().into(), tenant.version.clone().into()];
        let locked = with_values(LOCK, key.to_vec());
        let mut sql = assert_sql(&locked, "another run has locked or changed the tenant");
        let path = target.search_path(self.migrator);
        let mut settings = self.timeouts.settings();
        settings.push(("search_path", path.clone()));
        let (mut columns, mut values) = (notice_lost_client(true), Vec::new());
        for (name, value) in settings {
            values.extend([name.into(), value.into()]);
            columns += &format!(", set_config(${}, ${}, true)", values.len() - 1, values.len());
        }
        sql += &with_values(&format!("SELECT {columns};\n"), values);
        // Not combined with the next query: see `ensure_schema_exists`.
        let exists = with_values("current_schema() = $1", vec![target.name().into()]);
        sql += &assert_sql(&exists, "the schema does not exist");
        let names = batch.before.applied.iter().map(|name| name.clone().into()).collect();
        let applied = format!(
            "SELECT coalesce(array_agg(version::text), '{{}}') @> $1 AND count(*) = cardinality($1)
             FROM {}",
            target.migrations_table(self.migrator)
        );
        let names = Value::Array(ArrayType::String, Some(Box::new(names)));
        let applied = with_values(&applied, vec![names]);
        sql += &assert_sql(&applied, "the applied migrations differ from the registry");
        let unchanged = with_values("current_setting('search_path') = $1", vec![path.into()]);
        let assert_path = assert_sql(&unchanged, "a migration changed search_path");
        let schema = target.quoted();
        for (migration, row) in &batch.migrations {
            sql.extend([&replace_placeholder(migration, &schema), assert_path.as_str(), row]);
        }
        // Constraints are checked under the settings with which the rows were written.
        sql += &format!("SET CONSTRAINTS ALL IMMEDIATE;\n{};\n", reset_sql());
        sql + &version_update_sql(&target, &batch.after, self.migrator)
    }

    async fn batch_for(
        &self,
        db: &DatabaseConnection,
        version: &Option<String>,
    ) -> Result<Option<Arc<Batch>>, Error> {
        // Locked while recording, so that it happens once.
        let mut batches = self.batches.lock().await;
        if let Some(batch) = batches.get(version) {
            return Ok(batch.clone());
        }
        let batch = self.record(db, version.as_deref()).await?.map(Arc::new);
        batches.insert(version.clone(), batch.clone());
        Ok(batch)
    }

    /// `None` if a schema has no migrations, or is to have none, or if a migration cannot be
    /// recorded.
    async fn record(
        &self,
        db: &DatabaseConnection,
        version: Option<&str>,
    ) -> Result<Option<Batch>, Error> {
        let names = self.migrator.names();
        let Some(newest) = names.iter().position(|name| Some(name.as_str()) == version) else {
            return Ok(None);
        };
        let (applied, pending) = names.split_at(newest + 1);
        let before = MigrationState { applied: applied.to_vec(), pending: pending.to_vec() };
        let steps = match self.action {
            Action::Fresh { .. } => return Ok(None),
            action => plan(self.migrator, &before, action)?,
        };
        if steps.is_empty() || !steps.iter().all(Step::is_transactional) {
            return Ok(None);
        }
        let Some(sql) = self.recorded(db, &before, steps.len()).await? else { return Ok(None) };
        let rows = steps.iter().map(|step| join_statements([step.row_sql(self.migrator)]));
        let migrations = sql.into_iter().zip(rows).collect();
        let (mut after, mut outcome) = (before.clone(), MigrationOutcome::default());
        for step in &steps {
            step.apply_to(&mut after, &mut outcome);
        }
        Ok(Some(Batch { before, migrations, after, outcome }))
    }

    /// The SQL of the steps for a schema in this state.
    async fn recorded(
        &self,
        db: &DatabaseConnection,
        before: &MigrationState,
        steps: usize,
    ) -> Result<Option<Vec<String>>, Error> {
        if *self.action == Action::Up(None) {
            self.migrator.record(|| rehearse(db, self.migrator)).await?;
            let recording = self.migrator.recording().await;
            return Ok(recording.and_then(|recording| recording.newest(steps)));
        }
        let applied = MigrationState { applied: Vec::new(), pending: before.applied.clone() };
        let plans = || {
            let first = plan(self.migrator, &applied, &Action::Up(None))?;
            Ok([first, plan(self.migrator, before, self.action)?])
        };
        let recording = self.migrator.record_steps(db, plans).await?;
        Ok(recording.and_then(|recording| recording.newest(steps)))
    }
}

/// Locks the tenant until the end of the batch; false if it is locked or has changed.
///
/// The comparison of versions cannot use an index: for a version that thousands of tenants share,
/// but that is newer than the statistics, PostgreSQL expects one row and reads all of them.
const LOCK: &str = r#"SELECT count(*) = 1 FROM (SELECT FROM "registry"."tenants"
    WHERE "id" = $1 AND "schema" = $2 AND "schema_version" IS NOT DISTINCT FROM $3
    AND "status" NOT IN ('dropping', 'dropped') FOR NO KEY UPDATE SKIP LOCKED) AS tenant"#;

/// Sends the batch. After an error, also resets what a rollback does not.
async fn send(db: &DatabaseConnection, sql: &str) -> Result<(), DbErr> {
    let pool = db.get_postgres_connection_pool();
    let mut connection = pool.acquire().await.map_err(connection_error)?;
    let sent = connection.execute(raw_sql(AssertSqlSafe(sql))).await.map_err(exec_error);
    let Err(error) = sent else { return Ok(()) };
    // After a read-only error, the address may lead to another server by now.
    if DbErrorKind::of(&error) == DbErrorKind::ReadOnly
        || connection.execute(raw_sql(AssertSqlSafe(reset_sql()))).await.is_err()
    {
        connection.close_on_drop();
    }
    Err(error)
}
