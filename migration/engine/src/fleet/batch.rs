//! One tenant, migrated by one message.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, QueryTrait, RuntimeErr, Statement, TransactionTrait,
    Value,
    sea_query::{ArrayType, Expr},
    sqlx::{self, AssertSqlSafe, Executor},
};

use tokio::sync::Mutex;

use super::FleetTenant;
use crate::{
    Action, DbErrorKind, DynMigrator, Error, MigrationOutcome, MigrationState, Target, Timeouts,
    lock::version_update,
    plan::{Step, plan},
    provision::recorder::{joined, rehearse, rehearse_steps},
    provision::recording::Recording,
    search_path::assert_search_path_sql,
    session::{notice_lost_client, reset},
    sql::replace_placeholder,
};

/// Migrates tenants in one round trip each, as long as all is as the registry says: the statements
/// of the migrations are [recorded](DynMigrator::record), and sent together with the claim and the
/// registry's row. PostgreSQL runs a message as one transaction.
///
/// Whatever is not as expected – another run has the claim, the schema has other migrations on
/// record, a migration would read other rows than when it was recorded – ends the message by a
/// division by zero, and nothing was done.
pub(super) struct BatchRunner<'a> {
    migrator: &'a DynMigrator,
    action: &'a Action,
    timeouts: Timeouts,
    recorded: Mutex<HashMap<Option<String>, Option<Arc<Recorded>>>>,
    /// How many tenants there are.
    pub(super) tenants: AtomicUsize,
    /// Whether it is worth another try: where others are at work too, each tenant of theirs would
    /// be an error in the server's log.
    hopeful: AtomicBool,
}

/// For fewer tenants it takes longer to record the migrations than to run them.
const MANY: usize = 8;

/// What is sent to a schema of one version.
struct Recorded {
    before: MigrationState,
    /// One text for each migration, and its note in the table of migrations.
    texts: Vec<(String, String)>,
    after: MigrationState,
    outcome: MigrationOutcome,
}

impl<'a> BatchRunner<'a> {
    pub(super) fn new(migrator: &'a DynMigrator, action: &'a Action, timeouts: Timeouts) -> Self {
        let hopeful = AtomicBool::new(true);
        let (recorded, tenants) = (Mutex::default(), AtomicUsize::default());
        Self { migrator, action, timeouts, recorded, tenants, hopeful }
    }

    /// Migrates a tenant. None when that takes more than this: nothing was sent then.
    ///
    /// When it fails nothing was done, but which migration it was nobody knows.
    pub(super) async fn migrate(
        &self,
        db: &DatabaseConnection,
        member: &FleetTenant,
    ) -> Result<Option<MigrationOutcome>, Error> {
        if !self.hopeful.load(Ordering::Relaxed) || self.tenants.load(Ordering::Relaxed) < MANY {
            return Ok(None);
        }
        let Some(recorded) = self.recorded(db, &member.version).await? else { return Ok(None) };
        let sent = send(db, &self.message(member, &recorded)).await;
        let wants_commit = |error: &DbErr| DbErrorKind::of(error) == DbErrorKind::NeedsCommit;
        if sent.as_ref().is_err_and(|error| is_unexpected(error) || wants_commit(error)) {
            self.hopeful.store(false, Ordering::Relaxed);
        }
        sent?;
        Ok(Some(recorded.outcome.clone()))
    }

    fn message(&self, member: &FleetTenant, recorded: &Recorded) -> String {
        let target = Target::Schema(member.schema.clone());
        let text = |sql: &str, values: Vec<Value>| {
            Statement::from_sql_and_values(DbBackend::Postgres, sql, values).to_string() + ";\n"
        };
        let mut message = text(
            CLAIM,
            vec![member.id.into(), member.schema.clone().into(), member.version.clone().into()],
        );
        message += &format!("SELECT {};\n", notice_lost_client(true));
        let path = self.migrator.search_path(&target);
        let mut settings = self.timeouts.settings();
        settings.push(("search_path", path.clone()));
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (name, value) in settings {
            values.extend([name.into(), value.into()]);
            columns.push(format!("set_config(${}, ${}, true)", values.len() - 1, values.len()));
        }
        message += &text(&format!("SELECT {}", columns.join(", ")), values);
        let names = recorded.before.applied.iter().map(|name| name.clone().into()).collect();
        let names = Value::Array(ArrayType::String, Some(Box::new(names)));
        let state = format!(
            "SELECT 1 / (coalesce(array_agg(version::text), '{{}}')
                 @> $1 AND count(*) = cardinality($1))::int FROM {}",
            target.table(self.migrator)
        );
        // In a statement of its own: see `confirm_schema`.
        message += &text("SELECT 1 / (current_schema() = $1)::int", vec![target.name().into()]);
        message += &text(&state, vec![names]);
        let stay = assert_search_path_sql(&path);
        let schema = target.quoted();
        for (sql, note) in &recorded.texts {
            message.extend([&replace_placeholder(sql, &schema), stay.as_str(), note]);
        }
        // Constraints are checked under the settings under which the rows were written.
        message += &format!("SET CONSTRAINTS ALL IMMEDIATE;\n{};\n", reset());
        let now = Expr::current_timestamp();
        let update = version_update(&target, &recorded.after, self.migrator, now);
        message + &update.build(DbBackend::Postgres).to_string()
    }

    async fn recorded(
        &self,
        db: &DatabaseConnection,
        version: &Option<String>,
    ) -> Result<Option<Arc<Recorded>>, Error> {
        // Held until it is recorded, so that it is recorded once.
        let mut all = self.recorded.lock().await;
        if let Some(recorded) = all.get(version) {
            return Ok(recorded.clone());
        }
        let recorded = self.record(db, version.as_deref()).await?.map(Arc::new);
        all.insert(version.clone(), recorded.clone());
        Ok(recorded)
    }

    /// None for who has no migrations yet, or is to have none, and where only running the
    /// migrations tells what they send.
    async fn record(
        &self,
        db: &DatabaseConnection,
        version: Option<&str>,
    ) -> Result<Option<Recorded>, Error> {
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
        if steps.is_empty() || steps.iter().any(Step::alone) {
            return Ok(None);
        }
        let Some(texts) = self.texts(db, &before, &steps).await? else { return Ok(None) };
        let notes = steps.iter().map(|step| joined([step.note_sql(self.migrator)]));
        let texts = texts.into_iter().zip(notes).collect();
        let (mut after, mut outcome) = (before.clone(), MigrationOutcome::default());
        for step in &steps {
            step.apply_to(&mut after);
            outcome.add(step);
        }
        Ok(Some(Recorded { before, texts, after, outcome }))
    }

    /// What these steps send to a schema in this state.
    async fn texts(
        &self,
        db: &DatabaseConnection,
        before: &MigrationState,
        steps: &[Step],
    ) -> Result<Option<Vec<String>>, Error> {
        if *self.action == Action::Up(None) {
            self.migrator.record(|| rehearse(db, self.migrator)).await?;
            let recording = self.migrator.recording().await;
            return Ok(recording.and_then(|recording| recording.newest(steps.len())));
        }
        let rehearse = async || {
            let applied = MigrationState { applied: Vec::new(), pending: before.applied.clone() };
            let first = plan(self.migrator, &applied, &Action::Up(None))?;
            let steps = plan(self.migrator, before, self.action)?;
            let txn = db.begin().await?;
            let rehearsal = rehearse_steps(&txn, self.migrator, first, steps).await;
            txn.rollback().await?;
            Ok::<_, Error>(rehearsal?.0)
        };
        let (Ok(first), Ok(second)) = (rehearse().await?, rehearse().await?) else {
            return Ok(None);
        };
        Ok(Recording::of(steps, [&first, &second], true).newest(steps.len()))
    }
}

/// Divides by zero unless the tenant is ours until the end of the message.
///
/// The version is compared in a way that no index can answer: of one that thousands share, but that
/// is newer than the statistics, PostgreSQL expects a single row, and reads them all.
const CLAIM: &str = r#"SELECT 1 / count(*) FROM (SELECT FROM "registry"."tenants"
    WHERE "id" = $1 AND "schema" = $2 AND "schema_version" IS NOT DISTINCT FROM $3
    AND "status" NOT IN ('dropping', 'dropped') FOR NO KEY UPDATE SKIP LOCKED) AS ours"#;

/// Sends the message. If it fails, what a rollback does not undo in the session is reset, too.
async fn send(db: &DatabaseConnection, message: &str) -> Result<(), DbErr> {
    let pool = db.get_postgres_connection_pool();
    let lost = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let failed = |error: sqlx::Error| DbErr::Exec(RuntimeErr::SqlxError(error.into()));
    let mut connection = pool.acquire().await.map_err(lost)?;
    let sent = connection.execute(sqlx::raw_sql(AssertSqlSafe(message))).await.map_err(failed);
    if sent.as_ref().is_err_and(|error| DbErrorKind::of(error) == DbErrorKind::ReadOnly) {
        // Behind the same address there may be another server by now.
        connection.close_on_drop();
    } else if sent.is_err()
        && connection.execute(sqlx::raw_sql(AssertSqlSafe(reset()))).await.is_err()
    {
        connection.close_on_drop();
    }
    sent.map(drop)
}

/// SQLSTATE 22012, division by zero.
fn is_unexpected(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error).as_deref() == Some("22012")
}
