//! One tenant, migrated by one message.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, QueryTrait, RuntimeErr, Statement, Value,
    sea_query::{ArrayType, Expr},
    sqlx::{self, AssertSqlSafe, Executor},
};

use super::Member;
use crate::{
    Action, AnyMigrator, Fault, Outcome, State, Target, Timeouts,
    claim::version_update,
    plan::{Step, plan},
    record::{joined, record},
    scope::stay_in,
    session::{notice_lost_client, reset},
    sql::replace_placeholder,
    statement::Ground,
};

/// Migrates tenants in one round trip each, as long as all is as the registry says: the statements
/// of the migrations are recorded once for each version that tenants start from, and sent together
/// with the claim and the registry's row. PostgreSQL runs a message as one transaction.
///
/// Whatever is not as expected – somebody else has the claim, the schema has other migrations on
/// record – ends the message by a division by zero, and nothing was done.
pub(super) struct AtOnce<'a> {
    migrator: &'a AnyMigrator,
    action: &'a Action,
    timeouts: Timeouts,
    recorded: Mutex<HashMap<Option<String>, Option<Arc<Recorded>>>>,
    /// Whether it is worth another try: where others are at work too, each tenant of theirs would
    /// be an error in the server's log.
    hopeful: AtomicBool,
}

/// What is sent to a schema of one version.
struct Recorded {
    before: State,
    /// One text for each migration, and its note in the table of migrations.
    texts: Vec<(String, String)>,
    after: State,
    outcome: Outcome,
}

impl<'a> AtOnce<'a> {
    pub(super) fn new(migrator: &'a AnyMigrator, action: &'a Action, timeouts: Timeouts) -> Self {
        let hopeful = AtomicBool::new(true);
        Self { migrator, action, timeouts, recorded: Mutex::default(), hopeful }
    }

    /// Migrates a tenant. None when that takes more than this: nothing was sent then.
    ///
    /// When it fails nothing was done, but which migration it was nobody knows.
    pub(super) async fn migrate(
        &self,
        db: &DatabaseConnection,
        member: &Member,
    ) -> Result<Option<Outcome>, DbErr> {
        if !self.hopeful.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(recorded) = self.recorded(&member.version).await else { return Ok(None) };
        let sent = send(db, &self.message(member, &recorded)).await;
        let wants_commit = |error: &DbErr| Fault::of(error) == Fault::NeedsCommit;
        if sent.as_ref().is_err_and(|error| is_unexpected(error) || wants_commit(error)) {
            self.hopeful.store(false, Ordering::Relaxed);
        }
        sent.map(|()| Some(recorded.outcome.clone()))
    }

    fn message(&self, member: &Member, recorded: &Recorded) -> String {
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
        let stay = stay_in(&path);
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

    async fn recorded(&self, version: &Option<String>) -> Option<Arc<Recorded>> {
        let known =
            self.recorded.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned();
        if let Some(recorded) = known {
            return recorded;
        }
        let recorded = self.record(version.as_deref()).await.map(Arc::new);
        let mut all = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(version.clone(), recorded.clone());
        recorded
    }

    /// None for who has no migrations yet, or is to have none, and where only running the
    /// migrations tells what they send.
    async fn record(&self, version: Option<&str>) -> Option<Recorded> {
        let names = self.migrator.names();
        let applied = names.iter().position(|name| Some(name.as_str()) == version)? + 1;
        let (applied, pending) = (names[..applied].to_vec(), names[applied..].to_vec());
        let before = State { applied, pending };
        let steps = match self.action {
            Action::Fresh { .. } => return None,
            action => plan(self.migrator, &before, action).ok()?,
        };
        if steps.is_empty() || steps.iter().any(Step::alone) {
            return None;
        }
        let texts = match record(&steps, self.migrator, Ground::Rows).await {
            Ok(texts) => texts,
            Err(refusal) => {
                tracing::debug!(?refusal, "a migration is sent statement by statement");
                return None;
            }
        };
        let notes = steps.iter().map(|step| joined(vec![step.note_sql(self.migrator)]));
        let texts = texts.into_iter().zip(notes).collect();
        let (mut after, mut outcome) = (before.clone(), Outcome::default());
        for step in &steps {
            step.settle(&mut after);
            outcome.add(step);
        }
        Some(Recorded { before, texts, after, outcome })
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
    if sent.is_err() && connection.execute(sqlx::raw_sql(AssertSqlSafe(reset()))).await.is_err() {
        connection.close_on_drop();
    }
    sent.map(drop)
}

/// SQLSTATE 22012, division by zero.
fn is_unexpected(error: &DbErr) -> bool {
    Fault::sqlstate(error).as_deref() == Some("22012")
}
