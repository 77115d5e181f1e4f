//! A transaction on a connection of the lanes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream::BoxStream;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    Statement, StreamTrait, TransactionOptions, TransactionTrait,
};
use tokio::sync;

use super::{
    super::statement::Effect,
    Session,
    checkout::{Borrowed, Lease, of_server},
    savepoints::Savepoints,
    scheduler::closed,
    session_settings::milliseconds,
    stream,
    timeouts::{DDL, SUSPICIOUS, answer},
};

/// A transaction or a savepoint in one. Rolled back when dropped.
pub struct Transaction(Kind);

enum Kind {
    Ours(Level),
    /// Migrations work only on a transaction of SeaORM's own.
    SeaOrm {
        txn: DatabaseTransaction,
        borrowed: Arc<Borrowed>,
    },
}

/// The whole transaction, or a savepoint in it.
struct Level {
    whole: Arc<Whole>,
    savepoint: Option<u64>,
}

/// What a transaction and all its savepoints share. The connection goes back when the last of
/// them is gone.
struct Whole {
    lease: sync::Mutex<Lease>,
    savepoints: Mutex<Savepoints>,
}

impl Transaction {
    pub(super) async fn begin(lease: Lease, options: TransactionOptions) -> Result<Self, DbErr> {
        let begin = format!("BEGIN{}", modes(options));
        Self::begin_with(lease, &begin, is_read_only(options)).await
    }

    async fn begin_with(mut lease: Lease, begin: &str, read_only: bool) -> Result<Self, DbErr> {
        // Already now: if nobody waits for the answer, the server begins one all the same.
        lease.open(read_only);
        // It takes the server no time.
        let pinned = lease.pinned()?;
        let usual = pinned.answer.replace(SUSPICIOUS);
        send(&mut lease, begin, Effect::None).await?;
        lease.pinned()?.answer = usual;
        let whole = Whole { lease: sync::Mutex::new(lease), savepoints: Mutex::default() };
        Ok(Self(Kind::Ours(Level { whole: Arc::new(whole), savepoint: None })))
    }

    pub(super) async fn begin_for_migrations(lease: Lease) -> Result<Self, DbErr> {
        let (txn, borrowed) = lease.lend().await?;
        Ok(Self(Kind::SeaOrm { txn, borrowed: Arc::new(borrowed) }))
    }

    /// A transaction whose statements may each take as long as it takes to make or drop a schema.
    pub(super) async fn begin_for_ddl(mut lease: Lease) -> Result<Self, DbErr> {
        lease.pinned()?.answer = answer(Some(DDL));
        let begin = format!("BEGIN; SET LOCAL statement_timeout = {}", DDL.as_millis());
        Self::begin_with(lease, &begin, false).await
    }

    /// What the functions of migrations work on, if it was begun for them.
    pub(in super::super) fn for_migrations(&self) -> Option<&DatabaseTransaction> {
        match &self.0 {
            Kind::SeaOrm { txn, .. } => Some(txn),
            Kind::Ours(_) => None,
        }
    }

    /// Sets how long each of the following statements may take; `None` for any time.
    pub(in super::super) async fn set_statement_timeout(
        &self,
        timeout: Option<Duration>,
    ) -> Result<(), DbErr> {
        let set = format!("SET LOCAL statement_timeout = {}", milliseconds(timeout));
        match &self.0 {
            Kind::Ours(level) => {
                let mut lease = level.lease().await?;
                send(&mut lease, &set, Effect::None).await?;
                // A savepoint that is rolled back may bring back a longer one.
                let pinned = lease.pinned()?;
                pinned.answer = pinned.answer.zip(answer(timeout)).map(|(old, new)| old.max(new));
            }
            #[expect(clippy::disallowed_methods, reason = "a number")]
            Kind::SeaOrm { txn, .. } => {
                txn.execute_unprepared(&set).await?;
            }
        }
        Ok(())
    }

    pub(in super::super) async fn commit(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Ours(level) => level.commit().await,
            Kind::SeaOrm { txn, .. } => txn.commit().await,
        }
    }

    pub(in super::super) async fn rollback(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Ours(level) => level.rollback().await,
            Kind::SeaOrm { txn, .. } => txn.rollback().await,
        }
    }
}

impl Level {
    /// The connection, when what was dropped is undone.
    async fn lease(&self) -> Result<sync::MutexGuard<'_, Lease>, DbErr> {
        let mut lease = self.whole.lease.lock().await;
        if !lease.is_open() {
            // It has ended: what is sent would not be in a transaction.
            return Err(closed());
        }
        let dropped = self.whole.savepoints().dropped();
        if let Some(number) = dropped {
            send(&mut lease, &format!("ROLLBACK TO SAVEPOINT tenantry_{number}"), Effect::None)
                .await?;
            self.whole.savepoints().undone();
        }
        Ok(lease)
    }

    async fn savepoint(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        let mut lease = self.lease().await?;
        let number = self.whole.savepoints().begin();
        let sent = send(&mut lease, &format!("SAVEPOINT tenantry_{number}"), Effect::None).await;
        // If nobody waits for the answer nothing is done in it, and nothing is to be undone.
        sent.inspect_err(|_| {
            self.whole.savepoints().end(number);
        })?;
        let savepoint = Self { whole: Arc::clone(&self.whole), savepoint: Some(number) };
        if is_read_only(options) {
            lease.refuse_writes();
        }
        let modes = modes(options);
        if !modes.is_empty() {
            send(&mut lease, &format!("SET TRANSACTION{modes}"), Effect::None).await?;
        }
        Ok(savepoint)
    }

    async fn commit(self) -> Result<(), DbErr> {
        let mut lease = self.lease().await?;
        let Some(number) = self.savepoint else { return end(&mut lease, "COMMIT").await };
        // It may have been committed with the one around it.
        if self.whole.savepoints().end(number) {
            send(&mut lease, &format!("RELEASE SAVEPOINT tenantry_{number}"), Effect::None).await?;
        }
        Ok(())
    }

    async fn rollback(mut self) -> Result<(), DbErr> {
        match self.savepoint.take() {
            // It is done before the next statement, but whoever asks for it wants to be told.
            Some(number) => {
                self.whole.savepoints().abandon(number);
                self.lease().await.map(drop)
            }
            None => end(&mut *self.whole.lease.lock().await, "ROLLBACK").await,
        }
    }
}

impl Whole {
    fn savepoints(&self) -> MutexGuard<'_, Savepoints> {
        self.savepoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        if let Some(number) = self.savepoint {
            self.whole.savepoints().abandon(number);
        }
    }
}

async fn send(lease: &mut Lease, sql: &str, effect: Effect) -> Result<ExecResult, DbErr> {
    let result = lease.begin(effect)?.send(sql).await;
    lease.settle(result)
}

/// Ends a transaction; a commit that is refused ends it too.
async fn end(lease: &mut Lease, word: &str) -> Result<(), DbErr> {
    let result = send(lease, word, Effect::None).await;
    lease.close();
    result.map(drop)
}

impl Session for Transaction {
    const RESENDS: bool = false;

    async fn start(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        Ok(Self(match &self.0 {
            Kind::Ours(level) => Kind::Ours(level.savepoint(options).await?),
            Kind::SeaOrm { txn, borrowed } => {
                let txn = txn.begin_with_options(options).await?;
                Kind::SeaOrm { txn, borrowed: Arc::clone(borrowed) }
            }
        }))
    }

    async fn run(&self, statement: Statement, effect: Effect) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Kind::Ours(level) => {
                let mut lease = level.lease().await?;
                lease.heed(&statement.sql);
                let result = lease.begin(effect)?.execute(statement).await;
                lease.settle(result)
            }
            Kind::SeaOrm { txn, .. } => txn.execute_raw(statement).await.map_err(of_server),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "handed on, under the same rule")]
    async fn send(&self, sql: &str, effect: Effect) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Kind::Ours(level) => {
                let mut lease = level.lease().await?;
                lease.heed(sql);
                send(&mut lease, sql, effect).await
            }
            Kind::SeaOrm { txn, .. } => txn.execute_unprepared(sql).await.map_err(of_server),
        }
    }

    async fn first_row(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> Result<Option<QueryResult>, DbErr> {
        match &self.0 {
            Kind::Ours(level) => {
                let mut lease = level.lease().await?;
                let result = lease.begin(effect)?.query_one(statement).await;
                lease.settle(result)
            }
            Kind::SeaOrm { txn, .. } => txn.query_one_raw(statement).await.map_err(of_server),
        }
    }

    async fn all_rows(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> Result<Vec<QueryResult>, DbErr> {
        match &self.0 {
            Kind::Ours(level) => {
                let mut lease = level.lease().await?;
                let result = lease.begin(effect)?.query_all(statement).await;
                lease.settle(result)
            }
            Kind::SeaOrm { txn, .. } => txn.query_all_raw(statement).await.map_err(of_server),
        }
    }

    async fn stream(
        &self,
        statement: Statement,
        effect: Effect,
    ) -> Result<BoxStream<'_, Result<QueryResult, DbErr>>, DbErr> {
        Ok(match &self.0 {
            Kind::Ours(level) => stream::of(level.lease().await?, statement, effect),
            Kind::SeaOrm { txn, .. } => Box::pin(txn.stream_raw(statement).await?),
        })
    }
}

/// For our own statements and for recorded migrations, which are sent as texts.
#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.run(statement, Effect::None).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.send(sql, Effect::of(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.first_row(statement, Effect::None).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.all_rows(statement, Effect::None).await
    }
}

fn is_read_only(options: TransactionOptions) -> bool {
    options.access_mode == Some(AccessMode::ReadOnly)
}

/// What is asked for, as SQL.
fn modes(options: TransactionOptions) -> String {
    let level = options.isolation_level.map(|level| format!(" ISOLATION LEVEL {level}"));
    let access = options.access_mode.map(|mode| format!(" {mode}"));
    level.unwrap_or_default() + &access.unwrap_or_default()
}
