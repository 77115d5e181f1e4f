//! Assigns connections to requests.

mod costs;
mod counters;
mod state;
mod waiting;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    request::{Owner, Request},
    shares::Shares,
};
use costs::LONG_WAIT;
use counters::Counters;
use state::{Assignment, Queued, State};

pub(crate) use counters::Counts;
#[cfg(feature = "metrics")]
pub(in super::super) use counters::WAIT_SECONDS;
pub(super) use state::Load;

/// The slots of the pool and the requests that wait for one.
pub(super) struct Scheduler {
    state: Mutex<State>,
    /// Notified when a closed pool has become idle.
    idle: Notify,
    acquire_timeout: Duration,
    counters: Counters,
}

impl Scheduler {
    pub(super) fn new(
        slots: usize,
        recent_tenants: usize,
        shares: Shares,
        acquire_timeout: Duration,
    ) -> Self {
        let state = Mutex::new(State::new(slots, recent_tenants, shares));
        Self { state, idle: Notify::new(), acquire_timeout, counters: Counters::default() }
    }

    /// The same, which also records every wait for a connection to this database.
    #[cfg(feature = "metrics")]
    pub(super) fn record_waits(mut self, database: &str) -> Self {
        self.counters = Counters::recorded(database);
        self
    }

    pub(super) fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// The connections in use and the waiting requests of each owner that has any.
    pub(super) fn load(&self) -> HashMap<Owner, Load> {
        self.state().load()
    }

    /// Acquires the slot that suits a request best:
    /// 1. the one that the tenant prefers, or a free one whose connection has served it recently;
    /// 2. if these are held, the next of them that is released. Any free one if the use of the
    ///    preferred one is expected to take longer than a connection is worth that has not served the
    ///    tenant, if the tenant's statements have waited for that long all in all, or if this one
    ///    has waited far longer than others do;
    /// 3. if none is free, or the owner has its share, the slot that is released when it is this
    ///    owner's turn: the owner that holds the fewest connections comes first.
    pub(super) async fn acquire(&self, request: Request<'_>) -> Result<usize, DbErr> {
        let owner = request.owner;
        let Queued { number, patience, receiver } = match self.request(request)? {
            Assignment::Now(slot) => {
                self.counters.acquired(None);
                return Ok(slot);
            }
            Assignment::Queued(queued) => queued,
        };
        let since = Instant::now();
        let ticket = Ticket { scheduler: self, owner, number, receiver };
        let slot = self.wait(ticket, patience).await?;
        self.counters.acquired(Some(since.elapsed()));
        Ok(slot)
    }

    async fn wait(&self, mut ticket: Ticket<'_>, mut patience: Duration) -> Result<usize, DbErr> {
        let since = Instant::now();
        loop {
            let left = self.acquire_timeout.saturating_sub(since.elapsed());
            if let Ok(handed) = timeout(patience.min(left), &mut ticket.receiver).await {
                return handed.map_err(|_| closed());
            }
            let slot = self.state().retry(ticket.owner, ticket.number, Instant::now());
            if let Some(slot) = slot {
                return Ok(slot);
            }
            patience = (patience * 2).min(LONG_WAIT);
            if since.elapsed() >= self.acquire_timeout {
                self.counters.timed_out();
                return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
            }
        }
    }

    fn request(&self, request: Request<'_>) -> Result<Assignment, DbErr> {
        let mut state = self.state();
        if state.closed {
            return Err(closed());
        }
        let assigned = state.request(request, Instant::now());
        Ok(assigned.inspect_err(|_| self.counters.refused())?)
    }

    /// Acquires a certain slot if it is free and the owner may have it in place of one that it
    /// holds.
    pub(super) fn try_acquire(&self, slot: usize, request: Request<'_>) -> bool {
        self.state().try_acquire(slot, request, Instant::now())
    }

    /// The connection of a slot that is held is a new one, which has served no tenant.
    pub(super) fn set_new(&self, slot: usize) {
        self.state().set_new(slot);
    }

    /// Hands a slot to the next request, or frees it.
    pub(super) fn release(&self, slot: usize) {
        let mut state = self.state();
        state.release(slot, Instant::now());
        if state.closed && state.is_idle() {
            self.idle.notify_waiters();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Assigns no more slots and waits until all of them are free.
    pub(super) async fn close(&self) {
        // Registered before the state is examined, so that no notification is missed.
        let idle = self.idle.notified();
        let is_idle = {
            let mut state = self.state();
            state.close();
            state.is_idle()
        };
        if !is_idle {
            idle.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting request, removed when its caller stops waiting.
struct Ticket<'a> {
    scheduler: &'a Scheduler,
    owner: Owner,
    number: u64,
    receiver: oneshot::Receiver<usize>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.scheduler.state().cancel(self.owner, self.number);
        // A slot may have been handed over but not received.
        if let Ok(slot) = self.receiver.try_recv() {
            self.scheduler.release(slot);
        }
    }
}

/// The pool is closed.
pub(super) fn closed() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
}

#[cfg(test)]
mod tests;
