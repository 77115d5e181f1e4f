use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{
    AccessMode, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, ProxyDatabaseTrait, ProxyExecResult, ProxyRow, QueryTrait, Statement, TransactionTrait,
    from_query_result_to_proxy_row, sea_query::Expr,
};
use sea_orm_migration::MigratorTraitSelf;

use crate::{
    Action, AnyMigrator, Error, State, Target,
    claim::{registry_exists, version_update},
    enter,
    plan::plan,
    run::{create_registry_sql, fresh_sql, keep_tenants, state_within},
};

/// The statements by which [`run`](fn@crate::run) would do `action`, without doing it: a script
/// that does the same by hand, transactions and `search_path` included. Empty when there is nothing
/// to do.
///
/// Questions that a migration asks (does this column exist?) are answered by the database in a
/// read-only transaction; everything else is only written down.
///
/// # Errors
/// As for [`run`](fn@crate::run); [`Error::NotPrintable`] when a migration reads what an earlier
/// one has yet to make.
pub async fn dry_run(
    db: &DatabaseConnection,
    target: &Target,
    migrator: &AnyMigrator,
    action: &Action,
) -> Result<Vec<String>, Error> {
    let reader = db.begin_with_config(None, Some(AccessMode::ReadOnly)).await?;
    let registry = registry_exists(&reader).await?;
    if *target == Target::Registry && registry && !matches!(action, Action::Up(_)) {
        keep_tenants(&reader).await?;
    }
    let entered = enter(&reader, target).await;
    let mut state = match (entered, action) {
        // The registry's schema is made by the run itself.
        (Err(Error::MissingRegistry), Action::Up(_)) => state_of_nothing(migrator),
        (Ok(_), Action::Fresh) => state_of_nothing(migrator),
        (entered, _) => {
            entered?;
            state_within(&reader, target, migrator).await?
        }
    };
    let steps = plan(migrator, &state, action)?;
    if steps.is_empty() && *action != Action::Fresh {
        return Ok(Vec::new());
    }
    let script = Script::new(target, reader).await?;
    script.begin();
    match (target, action) {
        (_, Action::Fresh) => script.extend(fresh_sql(target)),
        (Target::Registry, Action::Up(_)) => script.extend([create_registry_sql()]),
        _ => {}
    }
    script.scope(true);
    if state.applied.is_empty() {
        migrator.install(&script.recorder).await?;
    }
    for step in steps {
        if step.alone() {
            script.extend(["COMMIT".to_owned()]);
            script.scope(false);
        }
        step.run(&script.recorder, migrator).await.map_err(|source| Error::NotPrintable {
            schema: target.name().to_owned(),
            migration: step.migration.name().to_owned(),
            source,
        })?;
        if step.alone() {
            script.extend(["RESET search_path".to_owned()]);
            script.begin();
            script.scope(true);
        }
        step.settle(&mut state);
    }
    if registry && *target != Target::Registry {
        let update = version_update(target, &state, migrator, Expr::current_timestamp());
        script.extend([update.build(DbBackend::Postgres).to_string()]);
    }
    script.extend(["COMMIT".to_owned()]);
    Ok(script.into_sql())
}

fn state_of_nothing(migrator: &AnyMigrator) -> State {
    State { applied: Vec::new(), pending: migrator.names() }
}

/// The statements so far, and the connection that writes them down.
struct Script {
    search_path: String,
    sql: Arc<Mutex<Vec<String>>>,
    recorder: DatabaseConnection,
}

impl Script {
    async fn new(target: &Target, reader: DatabaseTransaction) -> Result<Self, DbErr> {
        let sql = Arc::new(Mutex::new(Vec::new()));
        let recorder = Recorder { sql: Arc::clone(&sql), reader };
        let recorder = Arc::new(Box::new(recorder) as Box<dyn ProxyDatabaseTrait>);
        let recorder = Database::connect_proxy(DbBackend::Postgres, recorder).await?;
        Ok(Self { search_path: target.search_path(), sql, recorder })
    }

    fn begin(&self) {
        self.extend(["BEGIN".to_owned()]);
    }

    /// Sets `search_path`, for the transaction or for the session.
    fn scope(&self, local: bool) {
        let local = if local { "LOCAL " } else { "" };
        self.extend([format!("SET {local}search_path = {}", self.search_path)]);
    }

    fn extend(&self, sql: impl IntoIterator<Item = String>) {
        self.sql.lock().unwrap_or_else(PoisonError::into_inner).extend(sql);
    }

    fn into_sql(self) -> Vec<String> {
        std::mem::take(&mut *self.sql.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that writes statements down, and passes on questions.
#[derive(Debug)]
struct Recorder {
    sql: Arc<Mutex<Vec<String>>>,
    reader: DatabaseTransaction,
}

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Recorder {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        let rows = self.reader.query_all_raw(statement).await?;
        Ok(rows.iter().map(from_query_result_to_proxy_row).collect())
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        let sql = statement.to_string();
        self.sql.lock().unwrap_or_else(PoisonError::into_inner).push(sql);
        Ok(ProxyExecResult::default())
    }
}
