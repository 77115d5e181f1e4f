//! A connection in somebody's hands.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use sea_orm::{
    ConnAcquireErr, DatabaseTransaction, DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError, postgres::PgSeverity},
};
use tokio::time::timeout;

use super::{
    Lanes,
    pinned::{Pinned, Place, send},
};

/// A connection and its place, given back when this is dropped.
///
/// If nothing is left to be done that is at once; else when the server has answered, so that
/// whoever gets the connection next need not wait for it.
pub(super) struct Lease {
    /// Both are there until it is dropped.
    holding: Option<(Pinned, Held)>,
    state: AtomicU8,
}

/// A place that is taken.
pub(super) struct Held {
    lanes: Arc<Lanes>,
    place: usize,
}

/// What is left to be done on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Nothing.
    Rest,
    /// A statement has not been answered to its end.
    Busy,
    /// A transaction has not been ended.
    Open,
    /// The connection has ended.
    Broken,
}

impl Lease {
    /// Takes the best free connection of a tenant. With `tried`, only one that answers.
    pub(super) async fn take(lanes: Arc<Lanes>, tenant: u64, tried: bool) -> Result<Self, DbErr> {
        lanes.permit().await?;
        let held = Held::best(lanes, tenant);
        let doubts = held.lanes.doubts.load(Ordering::Relaxed);
        let mut pinned = match held.place().unpark() {
            Some(pinned) if pinned.doubts == doubts && !tried => pinned,
            other => held.renew(other, doubts).await?,
        };
        pinned.meet(tenant);
        Ok(Self { holding: Some((pinned, held)), state: AtomicU8::new(State::Rest as u8) })
    }

    /// What SeaORM can work on.
    pub(super) fn db(&self) -> Result<&DatabaseTransaction, DbErr> {
        let closed = DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed);
        self.holding.as_ref().map(|(pinned, _)| &pinned.db).ok_or(closed)
    }

    pub(super) fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.state.load(Ordering::Relaxed) == state as u8
    }

    /// Waits for the answer to a statement, and knows if nobody has.
    pub(super) async fn run<T>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>> + Send,
    ) -> Result<T, DbErr> {
        if self.is(State::Rest) {
            self.set(State::Busy);
        }
        let result = statement.await;
        self.answered(result.as_ref().err());
        result
    }

    /// The server has answered a statement, or will not.
    pub(super) fn answered(&self, error: Option<&DbErr>) {
        if error.is_some_and(has_ended) {
            self.set(State::Broken);
            if let Some((_, held)) = &self.holding {
                held.lanes.doubt();
            }
        } else if self.is(State::Busy) {
            self.set(State::Rest);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((pinned, held)) = self.holding.take() else { return };
        let word = if self.is(State::Open) { "ROLLBACK" } else { "" };
        if self.is(State::Rest) && held.may_park(&pinned) {
            held.place().park(pinned);
        } else {
            let runtime = held.lanes.runtime.clone();
            let (rest, broken) = (self.is(State::Rest), self.is(State::Broken));
            runtime.spawn(async move {
                let answers = rest || !broken && send(&pinned.db, word).await.is_ok();
                held.put_back(pinned, answers).await;
            });
        }
    }
}

impl Held {
    /// The best free place of a tenant, for those who have a permit.
    pub(super) fn best(lanes: Arc<Lanes>, tenant: u64) -> Self {
        let place = lanes.take(tenant);
        Self { lanes, place }
    }

    /// A certain place, when it and a permit are free.
    pub(super) fn if_free(lanes: &Arc<Lanes>, place: usize) -> Option<Self> {
        let permit = lanes.permits.try_acquire().ok()?;
        if !lanes.places[place].try_take() {
            return None;
        }
        permit.forget();
        Some(Self { lanes: Arc::clone(lanes), place })
    }

    /// Tries the connection that is parked here, and closes it when it has ended or is too old.
    pub(super) async fn look_after(self, too_quiet: bool) {
        let Some(pinned) = self.place().unpark() else { return };
        match self.answers(&pinned).await {
            true if too_quiet => self.place().retire(pinned).await,
            answers => self.put_back(pinned, answers).await,
        }
    }

    async fn put_back(&self, pinned: Pinned, answers: bool) {
        match answers {
            true if self.may_park(&pinned) => self.place().park(pinned),
            true => self.place().retire(pinned).await,
            false => self.place().throw_away(pinned),
        }
    }

    /// Asks a connection for a sign of life.
    async fn answers(&self, pinned: &Pinned) -> bool {
        matches!(timeout(self.lanes.patience, send(&pinned.db, "")).await, Ok(Ok(())))
    }

    fn place(&self) -> &Place {
        &self.lanes.places[self.place]
    }

    fn may_park(&self, pinned: &Pinned) -> bool {
        !self.lanes.is_closed() && !self.place().is_worn(pinned, self.lanes.max_lifetime)
    }

    /// The connection, if it answers, or else another one.
    async fn renew(&self, parked: Option<Pinned>, doubts: u64) -> Result<Pinned, DbErr> {
        if let Some(mut pinned) = parked {
            if self.answers(&pinned).await {
                pinned.doubts = doubts;
                return Ok(pinned);
            }
            if pinned.doubts == doubts {
                self.lanes.doubt();
            }
            self.place().throw_away(pinned);
        }
        self.place().pin(doubts).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.place().set_free();
        // Only now, so that whoever gets the permit finds the place.
        self.lanes.permits.add_permits(1);
    }
}

/// Whether a connection is of no use any more.
pub(super) fn has_ended(error: &DbErr) -> bool {
    match driver_error(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)) => true,
        Some(sqlx::Error::Database(error)) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => false,
    }
}

/// Whether a statement has not been sent to its end, so that the server has done nothing: its
/// process had ended before. Only of a local server is that known so early; over TCP the error is
/// one of reading.
pub(in super::super) fn was_unsent(error: &DbErr) -> bool {
    matches!(driver_error(error), Some(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe)
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}
