//! A slot of the pool and the connection that it keeps.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use tokio::time::timeout;
use tracing::warn;

use super::{
    connect::{Connected, Connector},
    memory::ProcessMemory,
    session::Session,
    statement_choice::StatementChoice,
    timeouts::{CLEANUP, READ_ONLY_LIFETIME},
    write_access::WriteAccess,
};

/// Room for one connection, which only the holder of the slot may touch.
pub(super) struct Slot {
    idle: Mutex<Option<PooledConnection>>,
    limits: ConnectionLimits,
    /// Number of idle checks since the slot was last used.
    idle_ticks: AtomicU32,
}

#[derive(Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// Memory of its server process, in bytes; `None` for no limit.
    pub(super) memory: Option<u64>,
    pub(super) lifetime: Duration,
    /// Number of statements that are kept prepared.
    pub(super) statements: usize,
    /// For the answer to a statement.
    pub(super) answer_timeout: Option<Duration>,
}

/// A connection of the pool. It belongs to no pool of sqlx, which pings a connection whenever it is
/// returned: one more round trip for each statement, during which the connection cannot be used.
pub(super) struct PooledConnection {
    pub(super) session: Session,
    /// Whether `after_connect` may have changed the session, which a reset would undo.
    pub(super) customised: bool,
    pub(super) generation: Generation,
    /// Whether its server accepts no writes.
    pub(super) read_only: bool,
    pub(super) answer_timeout: Option<Duration>,
    pub(super) statements: StatementChoice,
    pub(super) memory: ProcessMemory,
    opened_at: Instant,
    _open: OpenCount,
}

/// The state of the pool when a connection was last found to work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation {
    /// See [`Health`](super::health::Health).
    pub(super) suspect: u64,
    /// See [`Health`](super::health::Health).
    pub(super) primary: u64,
}

/// Counts the open connections.
struct OpenCount(Arc<AtomicUsize>);

impl Slot {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self { idle: Mutex::new(None), limits, idle_ticks: AtomicU32::new(0) }
    }

    pub(super) async fn connect(
        &self,
        connector: &Connector,
        generation: Generation,
        open: &Arc<AtomicUsize>,
    ) -> Result<PooledConnection, DbErr> {
        let Connected { session, customised, writes, may_ask_memory, shapes } =
            connector.connect().await?;
        Ok(PooledConnection {
            session,
            customised,
            generation,
            read_only: writes != WriteAccess::Allowed,
            answer_timeout: self.limits.answer_timeout,
            statements: StatementChoice::new(self.limits.statements, shapes),
            opened_at: Instant::now(),
            memory: ProcessMemory::new(self.limits.memory, may_ask_memory),
            _open: OpenCount::new(open),
        })
    }

    pub(super) fn put_idle(&self, mut connection: PooledConnection) {
        connection.answer_timeout = self.limits.answer_timeout;
        self.idle_ticks.store(0, Ordering::Relaxed);
        *self.idle() = Some(connection);
    }

    pub(super) fn take_idle(&self) -> Option<PooledConnection> {
        self.idle().take()
    }

    pub(super) fn has_idle(&self) -> bool {
        self.idle().is_some()
    }

    /// Counts an idle check. Returns how many there were before since the slot was last used.
    pub(super) fn tick(&self) -> u32 {
        self.idle_ticks.fetch_add(1, Ordering::Relaxed)
    }

    /// Restores the count after the idle check itself has used the slot.
    pub(super) fn set_idle_ticks(&self, ticks: u32) {
        self.idle_ticks.store(ticks, Ordering::Relaxed);
    }

    /// Whether a connection has used too much memory or has been open for too long.
    pub(super) fn is_expired(&self, connection: &PooledConnection) -> bool {
        let lifetime = self.limits.lifetime;
        let lifetime =
            if connection.read_only { lifetime.min(READ_ONLY_LIFETIME) } else { lifetime };
        connection.memory.is_exceeded() || connection.opened_at.elapsed() > lifetime
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.take_idle() {
            connection.close().await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Option<PooledConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledConnection {
    /// Resets the session. Returns whether that succeeded.
    pub(super) async fn reset(&mut self, connector: &Connector) -> bool {
        match timeout(CLEANUP, connector.reset(&mut self.session)).await {
            Ok(Ok(true)) => return true,
            Ok(Ok(false)) => warn!("a connection was returned in a transaction; closing it"),
            Ok(Err(error)) => warn!(%error, "a connection could not be reset; closing it"),
            Err(_) => warn!("a connection was not reset within {CLEANUP:?}; closing it"),
        }
        false
    }

    /// Whether its server process has to be asked for its memory.
    pub(super) fn is_memory_due(&self) -> bool {
        self.memory.is_due(self.statements.new_statements())
    }

    /// Asks the server process for its memory. Returns whether it has answered.
    pub(super) async fn ask_memory(&mut self) -> bool {
        let connection = match &mut self.session {
            Session::Postgres(connection) => connection,
            #[cfg(feature = "testing")]
            Session::Mock(_) => return true,
        };
        match timeout(CLEANUP, self.memory.ask(connection)).await {
            Ok(Ok(bytes)) => {
                self.memory.set_allocated(bytes, self.statements.new_statements());
                return true;
            }
            Ok(Err(error)) => {
                warn!(%error, "a server process did not report its memory; closing its connection");
            }
            Err(_) => {
                warn!(
                    "a server process did not report its memory within {CLEANUP:?}; closing its connection"
                );
            }
        }
        false
    }

    /// Closes the connection gracefully.
    pub(super) async fn close(self) {
        let Self { session, _open, .. } = self;
        // Fails if the server has closed it. Without an answer the socket is closed.
        let _ = timeout(CLEANUP, session.close()).await;
    }
}

impl OpenCount {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
