//! The connection that a migration runs on. Its statements are answered by a [`Backend`], which
//! inspects them and sends them where they belong.
//!
//! SeaORM's migrations need a `DatabaseConnection` or a `DatabaseTransaction`. Of these, only the one
//! for mocks hands statements to other code *and* returns rows as the driver read them. (SeaORM's
//! proxies return rows as maps: columns are sorted by name, a value of an unexpected type reads as
//! NULL, and they cannot stream.) The mock connection is synchronous, so a migration runs on a
//! separate thread, and the calling task answers its statements. A panic ends only that thread.

mod backend;
mod connection;
mod levels;
mod session;
mod transaction;

use std::sync::Arc;

use sea_orm::{
    DatabaseConnection, DatabaseConnectionType, DbErr, MockDatabaseConnection, TransactionTrait,
};
use sea_orm_migration::{MigrationTrait, SchemaManager};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::{JoinError, spawn_blocking},
};
use tracing::Instrument;

pub(crate) use backend::{Backend, has_no_values, rows_affected, without_non_transactional};
pub(crate) use session::OwnSession;
pub(crate) use transaction::InTransaction;

use crate::plan::Step;
use connection::{Proxy, Request};
use levels::TransactionLevels;
pub(crate) use levels::is_aborted;

/// Why a migration did not complete.
#[derive(Debug, Clone)]
pub(crate) enum Halt {
    /// The migration returned this error, or `BEGIN` or `COMMIT` of it failed.
    Failed(DbErr),
    /// It tried to send a statement that begins or ends a transaction.
    TransactionControl(String),
    /// It panicked, with this message.
    Panicked(String),
}

/// Runs a migration with `backend`. Returns the error of a statement that the migration has ignored,
/// which may have aborted the transaction.
pub(crate) async fn run_migration(
    step: &Step,
    backend: &mut impl Backend,
) -> Result<Option<DbErr>, Halt> {
    let (sender, mut requests) = unbounded_channel();
    let (migration, up, transactional) =
        (Arc::clone(&step.migration), step.up, step.is_transactional());
    let runtime = Handle::current();
    let run = run(sender, migration, up, transactional).in_current_span();
    let mut thread = spawn_blocking(move || runtime.block_on(run));
    let mut levels = TransactionLevels::new(backend, transactional, step);
    let ended = loop {
        tokio::select! {
            biased;
            Some(request) = requests.recv() => levels.answer(request).await,
            ended = &mut thread => break ended,
        }
    };
    while let Ok(request) = requests.try_recv() {
        levels.answer(request).await;
    }
    levels.end(ended.unwrap_or_else(|error| Err(panic(error))))
}

/// Runs on the migration's thread.
async fn run(
    sender: UnboundedSender<Request>,
    migration: Arc<dyn MigrationTrait>,
    up: bool,
    transactional: bool,
) -> Result<(), Halt> {
    let caller = sender.clone();
    let migrate = async {
        let proxy = Arc::new(MockDatabaseConnection::new(Proxy::new(sender)));
        let db = DatabaseConnection::from(DatabaseConnectionType::MockDatabaseConnection(proxy));
        if !transactional {
            return call(&*migration, up, &SchemaManager::new(&db)).await;
        }
        // `TransactionLevels` maps it to the caller's transaction.
        let txn = db.begin().await?;
        call(&*migration, up, &SchemaManager::new(&txn)).await?;
        txn.commit().await
    };
    tokio::select! {
        result = migrate => result.map_err(Halt::Failed),
        // The caller was dropped.
        () = caller.closed() => Err(Halt::Failed(connection::closed())),
    }
}

async fn call(
    migration: &dyn MigrationTrait,
    up: bool,
    manager: &SchemaManager<'_>,
) -> Result<(), DbErr> {
    if up { migration.up(manager).await } else { migration.down(manager).await }
}

fn panic(error: JoinError) -> Halt {
    let Ok(payload) = error.try_into_panic() else {
        // The runtime is shutting down.
        return Halt::Failed(connection::closed());
    };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Halt::Panicked(text.unwrap_or_else(|| "a panic without a message".to_owned()))
}
