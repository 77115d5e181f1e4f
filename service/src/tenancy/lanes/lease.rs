//! A connection in somebody's hands.

use std::{io, sync::Arc, sync::atomic::Ordering};

use sea_orm::{
    DatabaseTransaction, DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError, postgres::PgSeverity},
};
use tokio::time::timeout;

use super::{
    Lanes,
    pinned::{Life, Pinned, Place},
    queue::{Ask, closed},
};

/// A connection and its place, given back when this is dropped.
///
/// If nothing is left to be done that is at once; else when the server has answered, so that
/// whoever gets the connection next need not wait for it.
pub(super) struct Lease {
    /// Both are there until it is dropped.
    holding: Option<(Pinned, Held)>,
    state: State,
}

/// A place that is taken.
pub(super) struct Held {
    lanes: Arc<Lanes>,
    place: usize,
}

/// A place whose connection a transaction of SeaORM has. It is taken back when this is dropped.
pub(super) struct Borrowed(Option<(Life, Held)>);

/// What is left to be done on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// Takes the connection that suits best. For the registry, only one that answers: it is asked
    /// seldom, and by those who have no handle that would try again.
    pub(super) async fn take(lanes: Arc<Lanes>, ask: Ask) -> Result<Self, DbErr> {
        let held = Held::best(lanes, ask).await?;
        let doubts = held.doubts();
        let mut pinned = match held.place().unpark() {
            Some(pinned) if pinned.doubts == doubts && ask.tenant.is_some() => pinned,
            // Apart: the state of what opens a connection is large, and every statement would carry it.
            other => Box::pin(held.renew(other, doubts)).await?,
        };
        if let Some(tenant) = ask.tenant {
            pinned.meet(tenant);
        }
        Ok(Self { holding: Some((pinned, held)), state: State::Rest })
    }

    /// The connection, for a statement whose end is told by [`settle`](Self::settle).
    pub(super) fn begin(&mut self) -> Result<&mut Pinned, DbErr> {
        if self.state == State::Rest {
            self.state = State::Busy;
        }
        self.holding.as_mut().map(|(pinned, _)| pinned).ok_or_else(closed)
    }

    /// The server has answered a statement, or will not.
    pub(super) fn settle<T>(&mut self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        if result.as_ref().err().is_some_and(has_ended) {
            self.state = State::Broken;
            if let Some((_, held)) = &self.holding {
                held.lanes.doubt();
            }
        } else if self.state == State::Busy {
            self.state = State::Rest;
        }
        result
    }

    pub(super) fn set(&mut self, state: State) {
        self.state = state;
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.state == state
    }

    /// Has SeaORM begin a transaction of its own on the connection.
    pub(super) async fn lend(mut self) -> Result<(DatabaseTransaction, Borrowed), DbErr> {
        let (pinned, held) = self.holding.take().ok_or_else(closed)?;
        let (txn, life) = held.place().begin(pinned).await?;
        Ok((txn, Borrowed(Some((life, held)))))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((mut pinned, held)) = self.holding.take() else { return };
        let state = self.state;
        if state == State::Rest && held.may_park(&pinned) {
            held.place().park(pinned);
            return;
        }
        let word = if state == State::Open { "ROLLBACK" } else { "" };
        let runtime = held.lanes.runtime.clone();
        runtime.spawn(async move {
            let answers = match state {
                State::Rest => true,
                State::Busy | State::Open => pinned.send(word).await.is_ok(),
                State::Broken => false,
            };
            held.put_back(pinned, answers).await;
        });
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some((life, held)) = self.0.take() else { return };
        let runtime = held.lanes.runtime.clone();
        // The pool has the connection when it has rolled back what SeaORM had left open.
        runtime.spawn(async move {
            if let Ok(pinned) = held.place().pin_again(held.doubts(), life).await {
                held.put_back(pinned, true).await;
            }
        });
    }
}

impl Held {
    pub(super) async fn best(lanes: Arc<Lanes>, ask: Ask) -> Result<Self, DbErr> {
        let place = lanes.queue.take(ask).await?;
        Ok(Self { lanes, place })
    }

    /// A certain place, when it is free.
    pub(super) fn if_free(lanes: &Arc<Lanes>, place: usize) -> Option<Self> {
        lanes.queue.take_free(place).then(|| Self { lanes: Arc::clone(lanes), place })
    }

    /// Tries the connection that is parked here, and closes it when it has ended or is too old.
    pub(super) async fn look_after(self, too_quiet: bool) {
        let Some(mut pinned) = self.place().unpark() else { return };
        match self.answers(&mut pinned).await {
            true if too_quiet => pinned.retire().await,
            answers => self.put_back(pinned, answers).await,
        }
    }

    async fn put_back(&self, pinned: Pinned, answers: bool) {
        match answers {
            true if self.may_park(&pinned) => self.place().park(pinned),
            true => pinned.retire().await,
            false => pinned.throw_away(),
        }
    }

    /// Asks a connection for a sign of life.
    async fn answers(&self, pinned: &mut Pinned) -> bool {
        matches!(timeout(self.lanes.patience, pinned.send("")).await, Ok(Ok(_)))
    }

    fn doubts(&self) -> u64 {
        self.lanes.doubts.load(Ordering::Relaxed)
    }

    fn place(&self) -> &Place {
        &self.lanes.places[self.place]
    }

    fn may_park(&self, pinned: &Pinned) -> bool {
        !self.lanes.is_closed() && !self.place().is_worn(pinned)
    }

    /// The connection, if it answers, or else another one.
    async fn renew(&self, parked: Option<Pinned>, doubts: u64) -> Result<Pinned, DbErr> {
        if let Some(mut pinned) = parked {
            if self.answers(&mut pinned).await {
                pinned.doubts = doubts;
                return Ok(pinned);
            }
            if pinned.doubts == doubts {
                self.lanes.doubt();
            }
            pinned.throw_away();
        }
        self.place().pin(doubts).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lanes.queue.give_back(self.place);
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
