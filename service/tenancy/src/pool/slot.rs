//! One connection and the place that it is kept in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::{
    DbErr,
    sqlx::{Connection, PgConnection},
};
use tokio::time::timeout;
use tracing::warn;

use super::{
    connect::{Opener, Writes},
    seen::{Seen, Worthy},
    timeouts::{CLEANUP, READ_ONLY},
};

/// Room for one connection, which only who has taken the place may touch.
pub(super) struct Place {
    parked: Mutex<Option<Pinned>>,
    limits: Limits,
    /// Looks at the place, one after the other, that have found it as the one before did.
    quiet: AtomicU32,
}

/// What a connection may do in its life.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// So many different tenants may use it; 0 for any number.
    pub(super) tenants: u32,
    pub(super) time: Duration,
    /// So many statements are kept prepared.
    pub(super) statements: usize,
    /// For the answer to a statement.
    pub(super) answer: Option<Duration>,
}

/// A connection. It belongs to no pool of sqlx: that would ping the server whenever a connection
/// comes back, a round trip after each statement, in which nobody else can use it.
pub(super) struct Pinned {
    pub(super) connection: PgConnection,
    pub(super) age: Age,
    /// Whether its server takes no writes.
    pub(super) read_only: bool,
    pub(super) life: Life,
    /// How long the answer to a statement is waited for.
    pub(super) answer: Option<Duration>,
    _counted: Counted,
}

/// How many connections were lost, and how many primaries, before this one was last found to work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    /// See [`Lanes::doubts`](super::Lanes).
    pub(super) doubts: u64,
    /// See [`Lanes::primary`](super::Lanes).
    pub(super) primary: u64,
}

/// What a connection has done since it was opened.
pub(super) struct Life {
    since: Instant,
    /// The tenants that it has served.
    met: Seen,
    /// The statements that were sent on it.
    pub(super) statements: Worthy,
}

/// One of the connections that are open.
struct Counted(Arc<AtomicUsize>);

impl Place {
    pub(super) fn new(limits: Limits) -> Self {
        Self { parked: Mutex::new(None), limits, quiet: AtomicU32::new(0) }
    }

    /// Opens a connection.
    pub(super) async fn pin(
        &self,
        opener: &Opener,
        age: Age,
        open: &Arc<AtomicUsize>,
    ) -> Result<Pinned, DbErr> {
        let (connection, writes) = opener.open().await?;
        Ok(Pinned {
            connection,
            age,
            read_only: writes != Writes::Accepted,
            life: Life::new(self.limits),
            answer: self.limits.answer,
            _counted: Counted::new(open),
        })
    }

    pub(super) fn park(&self, mut pinned: Pinned) {
        pinned.answer = self.limits.answer;
        self.quiet.store(0, Ordering::Relaxed);
        *self.parked() = Some(pinned);
    }

    pub(super) fn unpark(&self) -> Option<Pinned> {
        self.parked().take()
    }

    /// Whether a connection is parked here at this moment.
    pub(super) fn has_one(&self) -> bool {
        self.parked().is_some()
    }

    /// For how many looks nobody has used the place.
    pub(super) fn look(&self) -> u32 {
        self.quiet.fetch_add(1, Ordering::Relaxed)
    }

    /// Goes on counting looks after a connection was parked that nobody has used.
    pub(super) fn still_quiet(&self, looks: u32) {
        self.quiet.store(looks, Ordering::Relaxed);
    }

    /// Whether a connection has served too many tenants, or for too long.
    pub(super) fn is_worn(&self, pinned: &Pinned) -> bool {
        let Limits { tenants, time, .. } = self.limits;
        let many = tenants > 0 && pinned.life.met.count() > tenants as usize;
        let time = if pinned.read_only { time.min(READ_ONLY) } else { time };
        many || pinned.life.since.elapsed() > time
    }

    pub(super) async fn close(&self) {
        if let Some(pinned) = self.unpark() {
            pinned.retire().await;
        }
    }

    fn parked(&self) -> MutexGuard<'_, Option<Pinned>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pinned {
    pub(super) fn meet(&mut self, tenant: u64) {
        self.life.met.note(tenant);
    }

    /// Resets a session that may have been changed. Whether that was possible.
    pub(super) async fn reset(&mut self, opener: &Opener) -> bool {
        match timeout(CLEANUP, opener.reset(&mut self.connection)).await {
            Ok(Ok(true)) => return true,
            Ok(Ok(false)) => warn!("a connection came back in a transaction; it is closed"),
            Ok(Err(error)) => warn!(%error, "a connection could not be reset; it is closed"),
            Err(_) => warn!("a connection was not reset within {CLEANUP:?}; it is closed"),
        }
        false
    }

    /// Closes a connection in good order.
    pub(super) async fn retire(self) {
        let Self { connection, _counted, .. } = self;
        // The server has closed it if this fails. Without an answer the socket is closed.
        let _ = timeout(CLEANUP, connection.close()).await;
    }
}

impl Life {
    fn new(limits: Limits) -> Self {
        Self {
            since: Instant::now(),
            met: Seen::new(limits.tenants as usize),
            statements: Worthy::new(limits.statements),
        }
    }
}

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
