//! One connection and the place that it is kept in.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, TransactionTrait,
    sqlx::{self, PgPool, Postgres, pool::PoolConnection, postgres::PgPoolOptions},
};

use super::seen::{Seen, Worthy};

/// Room for one connection, which only who has taken the place may touch.
pub(super) struct Place {
    parked: Mutex<Option<Pinned>>,
    /// Of one connection.
    pool: PgPool,
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
}

/// A connection that is kept out of its pool.
///
/// The pool asks the server for a sign of life whenever a connection comes back: a round trip after
/// each statement, in which nobody else can use it. So it is not given back.
pub(super) struct Pinned {
    pub(super) connection: PoolConnection<Postgres>,
    /// See [`Lanes::doubts`](super::Lanes).
    pub(super) doubts: u64,
    pub(super) life: Life,
}

/// What a connection has done since it was opened.
pub(super) struct Life {
    since: Instant,
    /// The tenants that it has served.
    met: Seen,
    /// The statements that were sent on it.
    pub(super) statements: Worthy,
}

impl Place {
    /// A place for connections like those of `pool`.
    pub(super) fn new(pool: &PgPool, limits: Limits) -> Self {
        let options: PgPoolOptions = pool.options().clone();
        Self {
            parked: Mutex::new(None),
            pool: options.connect_lazy_with((*pool.connect_options()).clone()),
            limits,
            quiet: AtomicU32::new(0),
        }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Opens a connection.
    pub(super) async fn pin(&self, doubts: u64) -> Result<Pinned, DbErr> {
        let connection = self.pool.acquire().await.map_err(no_connection)?;
        Ok(Pinned { connection, doubts, life: Life::new(self.limits) })
    }

    /// The connection that a transaction of SeaORM has given back to the pool.
    pub(super) async fn pin_again(&self, doubts: u64, life: Life) -> Result<Pinned, DbErr> {
        let connection = self.pool.acquire().await.map_err(no_connection)?;
        Ok(Pinned { connection, doubts, life })
    }

    /// A transaction of SeaORM on the connection.
    pub(super) async fn begin(&self, pinned: Pinned) -> Result<(DatabaseTransaction, Life), DbErr> {
        // It goes to the pool, from where SeaORM takes it.
        drop(pinned.connection);
        let txn = DatabaseConnection::from(self.pool.clone()).begin().await?;
        Ok((txn, pinned.life))
    }

    pub(super) fn park(&self, pinned: Pinned) {
        self.quiet.store(0, Ordering::Relaxed);
        *self.parked() = Some(pinned);
    }

    pub(super) fn unpark(&self) -> Option<Pinned> {
        self.parked().take()
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
        many || pinned.life.since.elapsed() > time
    }

    pub(super) async fn close(&self) {
        if let Some(pinned) = self.unpark() {
            pinned.retire().await;
        }
        self.pool.close().await;
    }

    fn parked(&self) -> MutexGuard<'_, Option<Pinned>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pinned {
    pub(super) fn meet(&mut self, tenant: u64) {
        self.life.met.note(tenant);
    }

    /// Closes a connection that has done its duty.
    pub(super) async fn retire(self) {
        // The server has closed it if this fails.
        let _ = self.connection.close().await;
    }

    /// Closes a connection that gives no answer, without waiting for one.
    pub(super) fn throw_away(self) {
        drop(self.connection.detach());
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

/// As SeaORM tells of it.
fn no_connection(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}
