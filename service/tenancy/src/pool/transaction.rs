use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::BoxStream;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions,
};
use tokio::sync;

use super::{
    super::{
        statement::{Analysis, Effect, Misuse, QualifiedStatement},
        tenant_state::TenantState,
    },
    Executor,
    checkout::Checkout,
    read_only,
    savepoints::Savepoints,
    scheduler::closed,
    session_settings::{RESET, ROLLBACK_AND_RESET, milliseconds},
    stream::row_stream,
    timeouts::{DDL, STALLED, SUSPECT_AFTER, TRANSFER, answer_timeout},
};

/// A transaction, or a savepoint in one. Rolled back when dropped.
pub struct Transaction {
    shared: Arc<SharedTransaction>,
    /// `None` for the transaction itself.
    savepoint: Option<u64>,
    /// The tenant whose statements run in it.
    tenant: Option<Arc<TenantState>>,
}

/// The part that a transaction shares with its savepoints. The connection is released with the last
/// of them.
struct SharedTransaction {
    /// Whether the session belongs to a pooler, which gives it to others afterwards.
    is_pooled: bool,
    checkout: sync::Mutex<Checkout>,
    savepoints: Mutex<Savepoints>,
}

impl Transaction {
    pub(super) async fn begin(
        checkout: Checkout,
        options: TransactionOptions,
    ) -> Result<Self, DbErr> {
        let begin = format!("BEGIN{}", modes(options));
        Self::begin_with(checkout, &begin, is_read_only(options)).await
    }

    async fn begin_with(
        mut checkout: Checkout,
        begin: &str,
        read_only: bool,
    ) -> Result<Self, DbErr> {
        checkout.begin_transaction(read_only);
        checkout.enforcement.is_set = read_only;
        // BEGIN takes the server no time.
        let usual = checkout.connection()?.answer_timeout.replace(SUSPECT_AFTER);
        execute(&mut checkout, begin, Effect::None).await?;
        checkout.connection()?.answer_timeout = usual;
        let (is_pooled, checkout) = (checkout.is_pooled(), sync::Mutex::new(checkout));
        let savepoints = Mutex::default();
        let shared = Arc::new(SharedTransaction { is_pooled, checkout, savepoints });
        Ok(Self { shared, savepoint: None, tenant: None })
    }

    /// The tenant whose statements run in it, and which may become read-only.
    pub(in super::super) fn set_tenant(&mut self, tenant: Arc<TenantState>) {
        self.tenant = Some(tenant);
    }

    /// The tenant was read-only when the transaction began.
    pub(super) fn set_read_only_by_tenant(&mut self) {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.checkout.get_mut().enforcement.by_tenant = true;
        }
    }

    /// A transaction whose statements may each take as long as creating or dropping a schema takes.
    pub(super) async fn begin_for_ddl(mut checkout: Checkout) -> Result<Self, DbErr> {
        checkout.connection()?.answer_timeout = answer_timeout(Some(DDL));
        let begin = format!("BEGIN; SET LOCAL statement_timeout = {}", DDL.as_millis());
        Self::begin_with(checkout, &begin, false).await
    }

    /// The same with a timeout that also applies after a commit and another `BEGIN`.
    pub(super) async fn begin_for_migrations(mut checkout: Checkout) -> Result<Self, DbErr> {
        checkout.connection()?.answer_timeout = answer_timeout(Some(DDL));
        let set = format!("SET statement_timeout = {}", DDL.as_millis());
        execute(&mut checkout, &set, Effect::Reset).await?;
        Self::begin_with(checkout, "BEGIN", false).await
    }

    /// A transaction that copies the rows of a tenant: from a snapshot, or into a new schema. Text
    /// has the same form whatever the settings of the server.
    pub(super) async fn begin_for_copy(
        mut checkout: Checkout,
        from_snapshot: bool,
    ) -> Result<Self, DbErr> {
        checkout.connection()?.answer_timeout = answer_timeout(Some(TRANSFER));
        let set = format!(
            "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {};
            SET DateStyle = ISO; SET IntervalStyle = postgres; SET bytea_output = hex;
            SET extra_float_digits = 1; SET lc_monetary = 'C'; SET xmloption = content;
            SET array_nulls = on; {}",
            TRANSFER.as_millis(),
            2 * STALLED.as_millis(),
            // Policies would hide rows; without them the statement fails.
            if from_snapshot { "SET row_security = off" } else { "" }
        );
        execute(&mut checkout, &set, Effect::Replace).await?;
        let begin = match from_snapshot {
            true => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            false => "BEGIN",
        };
        Self::begin_with(checkout, begin, from_snapshot).await
    }

    /// Sets the timeout of each of the following statements; `None` for no timeout.
    pub(in super::super) async fn set_statement_timeout(
        &self,
        timeout: Option<Duration>,
    ) -> Result<(), DbErr> {
        let set = format!("SET LOCAL statement_timeout = {}", milliseconds(timeout));
        let mut checkout = self.checkout().await?;
        execute(&mut checkout, &set, Effect::None).await?;
        // Not shorter than before, since rolling back a savepoint may restore a longer one.
        let connection = checkout.connection()?;
        let answer = connection.answer_timeout.zip(answer_timeout(timeout));
        connection.answer_timeout = answer.map(|(old, new)| old.max(new));
        Ok(())
    }

    pub(in super::super) async fn commit(self) -> Result<(), DbErr> {
        let mut checkout = self.checkout().await?;
        let Some(number) = self.savepoint else {
            if let Some(tenant) = &self.tenant {
                read_only::check_commit(&mut checkout, tenant).await?;
            }
            return commit(&mut checkout).await;
        };
        // False if the savepoint around it was committed.
        if self.shared.savepoints().end(number) {
            let release = format!("RELEASE SAVEPOINT tenantry_{number}");
            execute(&mut checkout, &release, Effect::None).await?;
            checkout.enforcement.is_set = false;
        }
        Ok(())
    }

    pub(in super::super) async fn rollback(mut self) -> Result<(), DbErr> {
        match self.savepoint.take() {
            // Done at once and not before the next statement, so that an error is reported.
            Some(number) => {
                self.shared.savepoints().mark_dropped(number);
                self.checkout().await.map(drop)
            }
            None => roll_back(&mut *self.shared.checkout.lock().await).await,
        }
    }

    /// The connection, after savepoints that were dropped are rolled back.
    pub(super) async fn checkout(&self) -> Result<sync::MutexGuard<'_, Checkout>, DbErr> {
        let mut checkout = self.shared.checkout.lock().await;
        if !checkout.in_transaction() {
            // It has ended: a statement would run outside of it.
            return Err(closed());
        }
        let dropped = self.shared.savepoints().dropped();
        if let Some(number) = dropped {
            let undo = format!("ROLLBACK TO SAVEPOINT tenantry_{number}");
            execute(&mut checkout, &undo, Effect::None).await?;
            self.shared.savepoints().rolled_back();
            checkout.enforcement.is_set = false;
        }
        Ok(checkout)
    }

    fn finish<T>(&self, checkout: &mut Checkout, result: Result<T, DbErr>) -> Result<T, DbErr> {
        let result = checkout.finish(result);
        result.map_err(|error| read_only::explain(checkout, self.tenant.as_deref(), error))
    }

    /// The connection for a statement. If the tenant is read-only, the transaction is as well.
    async fn checkout_for(
        &self,
        sql: &str,
        effect: Effect,
    ) -> Result<sync::MutexGuard<'_, Checkout>, DbErr> {
        let mut checkout = self.checkout().await?;
        checkout.detect_read_only(sql);
        if self.tenant.as_ref().is_some_and(|tenant| tenant.is_read_only()) {
            // Boxed, as it is rare.
            Box::pin(read_only::enforce(&mut checkout, sql, effect)).await?;
        }
        Ok(checkout)
    }
}

impl SharedTransaction {
    fn savepoints(&self) -> MutexGuard<'_, Savepoints> {
        self.savepoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(number) = self.savepoint {
            self.shared.savepoints().mark_dropped(number);
        }
    }
}

pub(super) async fn execute(
    checkout: &mut Checkout,
    sql: &str,
    effect: Effect,
) -> Result<ExecResult, DbErr> {
    let result = checkout.start(effect)?.execute_batch(sql).await;
    checkout.finish(result)
}

/// Commits a transaction. A commit that fails ends it too.
pub(super) async fn commit(checkout: &mut Checkout) -> Result<(), DbErr> {
    if checkout.must_reset_in_transaction() {
        // Deferred constraints and triggers run now, with the settings that they expect. If the
        // reset fails, the transaction is rolled back when its connection is cleaned up.
        let reset = format!("SET CONSTRAINTS ALL IMMEDIATE; {RESET}");
        execute(checkout, &reset, Effect::None).await?;
        checkout.set_reset();
    }
    end(checkout, "COMMIT").await
}

/// Rolls a transaction back.
pub(super) async fn roll_back(checkout: &mut Checkout) -> Result<(), DbErr> {
    if !checkout.must_reset_in_transaction() {
        return end(checkout, "ROLLBACK").await;
    }
    end(checkout, &ROLLBACK_AND_RESET).await?;
    checkout.set_reset();
    Ok(())
}

async fn end(checkout: &mut Checkout, sql: &str) -> Result<(), DbErr> {
    let result = execute(checkout, sql, Effect::None).await;
    checkout.end_transaction();
    result.map(drop)
}

impl Executor for Transaction {
    const CAN_RETRY: bool = false;

    fn permit(&self, Analysis { effect, session }: Analysis) -> Result<Effect, Misuse> {
        match session {
            Some(session) if self.shared.is_pooled => Err(session.refusal()),
            _ => Ok(effect),
        }
    }

    /// Sets a savepoint.
    async fn begin_transaction(
        &self,
        mut options: TransactionOptions,
    ) -> Result<Transaction, DbErr> {
        if self.tenant.as_ref().is_some_and(|tenant| tenant.is_read_only()) {
            // PostgreSQL would refuse another mode.
            options.access_mode = None;
        }
        let mut checkout = self.checkout().await?;
        let number = self.shared.savepoints().begin();
        let set = format!("SAVEPOINT tenantry_{number}");
        // If the caller does not wait for the answer, nothing is done in it.
        execute(&mut checkout, &set, Effect::None).await.inspect_err(|_| {
            self.shared.savepoints().end(number);
        })?;
        let (shared, tenant) = (Arc::clone(&self.shared), self.tenant.clone());
        let savepoint = Self { shared, savepoint: Some(number), tenant };
        if is_read_only(options) {
            checkout.set_read_only();
        }
        let modes = modes(options);
        if !modes.is_empty() {
            execute(&mut checkout, &format!("SET TRANSACTION{modes}"), Effect::None).await?;
        }
        Ok(savepoint)
    }

    async fn execute_statement(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<ExecResult, DbErr> {
        let mut checkout = self.checkout_for(&statement.statement.sql, effect).await?;
        let result = checkout.start(effect)?.execute(statement).await;
        self.finish(&mut checkout, result)
    }

    async fn execute_batch(&self, sql: &str, effect: Effect) -> Result<ExecResult, DbErr> {
        let mut checkout = self.checkout_for(sql, effect).await?;
        let result = checkout.start(effect)?.execute_batch(sql).await;
        self.finish(&mut checkout, result)
    }

    async fn fetch_optional(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<Option<QueryResult>, DbErr> {
        let mut checkout = self.checkout_for(&statement.statement.sql, effect).await?;
        let result = checkout.start(effect)?.query_one(statement).await;
        self.finish(&mut checkout, result)
    }

    async fn fetch_all(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut checkout = self.checkout_for(&statement.statement.sql, effect).await?;
        let result = checkout.start(effect)?.query_all(statement).await;
        self.finish(&mut checkout, result)
    }

    async fn fetch_stream(
        &self,
        statement: QualifiedStatement,
        effect: Effect,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        Ok(row_stream(
            self.checkout_for(&statement.statement.sql, effect).await?,
            statement,
            effect,
        ))
    }
}

/// For statements of this crate, which do not change the session, and for recorded migrations,
/// which are sent as batches.
#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.execute_statement(statement.into(), Effect::None).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_batch(sql, Effect::of(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.fetch_optional(statement.into(), Effect::None).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.fetch_all(statement.into(), Effect::None).await
    }
}

fn is_read_only(options: TransactionOptions) -> bool {
    options.access_mode == Some(AccessMode::ReadOnly)
}

fn modes(options: TransactionOptions) -> String {
    let level = options.isolation_level.map(|level| format!(" ISOLATION LEVEL {level}"));
    let access = options.access_mode.map(|mode| format!(" {mode}"));
    level.unwrap_or_default() + &access.unwrap_or_default()
}
