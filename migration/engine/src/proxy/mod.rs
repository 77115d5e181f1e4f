//! The connection that a migration is given. Every statement of the migration passes through the
//! code that runs it, which looks at the text and sends it where it belongs.
//!
//! SeaORM's migrations work on a `DatabaseConnection` or a `DatabaseTransaction`, and the only kind
//! of these that hands statements to other code *and* rows back as the driver has read them is the
//! one made for mocks. (Rows of SeaORM's proxies are maps: they are sorted by column name, a value
//! of a type that was not expected reads as NULL, and they have no streams.) That kind is
//! synchronous. So a migration runs on a thread of its own, whose statements are answered by the
//! task that waits for it. A panic ends that thread and nothing else.

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

pub(crate) use backend::{Backend, in_one, is_plain, rows_affected};
pub(crate) use session::OwnSession;
pub(crate) use transaction::InTransaction;

use crate::plan::Step;
use connection::{Proxy, Request};
use levels::Levels;
pub(crate) use levels::is_aborted;

/// Why a migration did not come to its end.
#[derive(Debug, Clone)]
pub(crate) enum Halt {
    /// The migration returned this error, or a transaction that it has begun could not be ended.
    Failed(DbErr),
    /// It tried to send a statement that begins or ends a transaction.
    TransactionControl(String),
    /// It panicked, with this message.
    Panicked(String),
}

/// Runs a migration whose statements are answered by `backend`. Returns an error of a statement that
/// the migration has ignored, which may have aborted the transaction.
pub(crate) async fn act(step: &Step, backend: &mut impl Backend) -> Result<Option<DbErr>, Halt> {
    let (sender, mut requests) = unbounded_channel();
    let (migration, up, transactional) = (Arc::clone(&step.migration), step.up, !step.alone());
    let runtime = Handle::current();
    let run = run(sender, migration, up, transactional).in_current_span();
    let mut thread = spawn_blocking(move || runtime.block_on(run));
    let mut levels = Levels::new(backend, transactional, step);
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

/// What happens on the migration's own thread.
async fn run(
    sender: UnboundedSender<Request>,
    migration: Arc<dyn MigrationTrait>,
    up: bool,
    transactional: bool,
) -> Result<(), Halt> {
    let caller = sender.clone();
    let act = async {
        let proxy = Arc::new(MockDatabaseConnection::new(Proxy::new(sender)));
        let db = DatabaseConnection::from(DatabaseConnectionType::MockDatabaseConnection(proxy));
        if !transactional {
            return carry_out(&*migration, up, &SchemaManager::new(&db)).await;
        }
        // The transaction that there is already: `Levels` knows that this one is not to be begun.
        let txn = db.begin().await?;
        carry_out(&*migration, up, &SchemaManager::new(&txn)).await?;
        txn.commit().await
    };
    tokio::select! {
        result = act => result.map_err(Halt::Failed),
        // Nobody waits for the migration any more.
        () = caller.closed() => Err(Halt::Failed(connection::closed())),
    }
}

async fn carry_out(
    migration: &dyn MigrationTrait,
    up: bool,
    manager: &SchemaManager<'_>,
) -> Result<(), DbErr> {
    if up { migration.up(manager).await } else { migration.down(manager).await }
}

fn panic(error: JoinError) -> Halt {
    let Ok(payload) = error.try_into_panic() else {
        // The runtime is being shut down.
        return Halt::Failed(connection::closed());
    };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Halt::Panicked(text.unwrap_or_else(|| "a panic without a message".to_owned()))
}
