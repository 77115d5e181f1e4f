//! The queue for connections: which request gets which one, and which wait.

mod state;
mod waiting;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    request::{Ask, Owner},
    shares::Shares,
};
use state::{OWN_WITHIN, State, Turn};

/// The places of the connections, and the requests that wait for one.
pub(super) struct Queue {
    state: Mutex<State>,
    all_free: Notify,
    patience: Duration,
}

impl Queue {
    pub(super) fn new(
        places: usize,
        known_tenants: usize,
        shares: Shares,
        patience: Duration,
    ) -> Self {
        let state = Mutex::new(State::new(places, known_tenants, shares));
        Self { state, all_free: Notify::new(), patience }
    }

    /// Takes the place that suits `ask` best:
    /// 1. the one that the tenant prefers, or else a free one whose connection has served it;
    /// 2. if the preferred one is busy with another tenant's statement, the next suitable place
    ///    that becomes free, or any free one after [`OWN_WITHIN`]. Any at once, if the preferred
    ///    one is held for longer than that, or if the tenant is in demand: served or waiting there already;
    /// 3. if none is free, or the owner has its share, the place that becomes free when it is this
    ///    owner's turn: the owner that holds the fewest connections is served first.
    pub(super) async fn take(&self, ask: Ask<'_>) -> Result<usize, DbErr> {
        let owner = ask.owner;
        let (number, receiver) = match self.ask(ask)? {
            Turn::Now(place) => return Ok(place),
            Turn::Later(number, receiver) => (number, receiver),
        };
        let mut ticket = Ticket { queue: self, owner, number, receiver };
        if let Ok(handed) = timeout(OWN_WITHIN, &mut ticket.receiver).await {
            return handed.map_err(|_| closed());
        }
        let again = self.state().ask_again(owner, number, Instant::now());
        if let Some(place) = again {
            return Ok(place);
        }
        match timeout(self.patience, &mut ticket.receiver).await {
            Ok(handed) => handed.map_err(|_| closed()),
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        }
    }

    fn ask(&self, ask: Ask<'_>) -> Result<Turn, DbErr> {
        let mut state = self.state();
        if state.closed {
            return Err(closed());
        }
        Ok(state.ask(ask, Instant::now())?)
    }

    /// Takes a certain place, if it is free and the owner may have it instead of one that it holds.
    pub(super) fn take_free(&self, place: usize, ask: Ask<'_>) -> bool {
        self.state().take_free(place, ask, Instant::now())
    }

    /// Hands a place to the next request, or sets it free.
    pub(super) fn give_back(&self, place: usize) {
        let mut state = self.state();
        state.give_back(place, Instant::now());
        if state.closed && state.is_idle() {
            self.all_free.notify_waiters();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Gives no more places, and waits until all of them are free.
    pub(super) async fn close(&self) {
        // Before the state is examined, so that no change is missed.
        let all_free = self.all_free.notified();
        let idle = {
            let mut state = self.state();
            state.close();
            state.is_idle()
        };
        if !idle {
            all_free.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting request, removed when its caller stops waiting.
struct Ticket<'a> {
    queue: &'a Queue,
    owner: Owner,
    number: u64,
    receiver: oneshot::Receiver<usize>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.state().give_up(self.owner, self.number);
        // A place that was handed over and not received, if there is one.
        if let Ok(place) = self.receiver.try_recv() {
            self.queue.give_back(place);
        }
    }
}

/// There is no connection any more.
pub(super) fn closed() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
}

#[cfg(test)]
mod tests;
