//! Who gets which connection, and who waits.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{choice::score, seen::Recent};

/// How long a statement waits for its tenant's own lane to be free again, when other connections
/// idle to whom the tenant is a stranger. On one of these it would take longer than a statement
/// usually takes, and push out what they know.
const OWN_WITHIN: Duration = Duration::from_millis(5);

/// Who has waited for so long comes before those to whose lane a connection belongs.
const AGED: Duration = Duration::from_millis(50);

/// So many of those who wait are looked at when a connection is free.
const LOOKED_AT: usize = 64;

/// The places of the connections, and those who wait for one.
pub(super) struct Queue {
    state: Mutex<State>,
    all_free: Notify,
    lane_size: usize,
    patience: Duration,
}

struct State {
    places: Box<[Slot]>,
    /// In the order of their coming.
    waiting: VecDeque<Waiting>,
    last: u64,
    closed: bool,
}

struct Slot {
    held: Option<Ask>,
    /// The tenants that the connection has served lately.
    known: Recent,
}

struct Waiting {
    number: u64,
    ask: Ask,
    /// Whether any place will do.
    anywhere: bool,
    since: Instant,
    hand: oneshot::Sender<usize>,
}

/// Who asks for a connection.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    /// None for the registry, who is served by whoever is free.
    pub(super) tenant: Option<u64>,
    pub(super) hold: Hold,
}

/// What a connection is held for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// One statement, which is mostly over soon.
    Statement,
    /// What takes as long as its user wants: a transaction, rows that are read one by one.
    Long,
}

impl Queue {
    pub(super) fn new(
        places: usize,
        lane_size: usize,
        known_tenants: usize,
        patience: Duration,
    ) -> Self {
        let slot = || Slot { held: None, known: Recent::new(known_tenants) };
        let places = (0..places).map(|_| slot()).collect();
        let state = State { places, waiting: VecDeque::new(), last: 0, closed: false };
        Self { state: Mutex::new(state), all_free: Notify::new(), lane_size, patience }
    }

    /// Takes the place that suits `ask` best:
    /// 1. a free one of the tenant's own lane, or else of a connection that knows the tenant;
    /// 2. if the own lane is busy with another tenant's statement, whatever suits and is free next;
    /// 3. if that takes too long, any that is free. At once, if the lane is held for long, or if the
    ///    tenant is in demand: being served or waiting there already;
    /// 4. where none is, the one that is free next. Those who have waited for long come first, then
    ///    those to whose lane it belongs.
    pub(super) async fn take(&self, ask: Ask) -> Result<usize, DbErr> {
        let (number, receiver) = {
            let mut state = self.state();
            if state.closed {
                return Err(closed());
            }
            let anywhere = self.is_held_long(&state, ask) || self.is_in_demand(&state, ask);
            if let Some(place) = self.best(&state, ask, anywhere) {
                state.give(place, ask);
                return Ok(place);
            }
            state.enqueue(ask, anywhere)
        };
        let mut ticket = Ticket { queue: self, number, receiver };
        if let Ok(handed) = timeout(OWN_WITHIN, &mut ticket.receiver).await {
            return handed.map_err(|_| closed());
        }
        {
            let mut state = self.state();
            // If it is not there any more, it has been handed a place just now.
            if let Some(index) = state.waiting.iter().position(|it| it.number == number)
                && let Some(place) = self.best(&state, ask, true)
            {
                state.waiting.remove(index);
                state.give(place, ask);
                return Ok(place);
            }
        }
        match timeout(self.patience, &mut ticket.receiver).await {
            Ok(handed) => handed.map_err(|_| closed()),
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        }
    }

    /// Takes a certain place, if it is free.
    pub(super) fn take_free(&self, place: usize, ask: Ask) -> bool {
        let mut state = self.state();
        let free = !state.closed && state.places[place].held.is_none();
        if free {
            state.give(place, ask);
        }
        free
    }

    /// Hands a place to the next one, or sets it free.
    pub(super) fn give_back(&self, place: usize) {
        let mut state = self.state();
        while let Some(next) = self.next_for(&state, place) {
            let Some(Waiting { ask, hand, .. }) = state.waiting.remove(next) else { break };
            state.give(place, ask);
            // Who has given up in this moment is not served.
            if hand.send(place).is_ok() {
                return;
            }
        }
        state.places[place].held = None;
        if state.closed && state.places.iter().all(|slot| slot.held.is_none()) {
            self.all_free.notify_waiters();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Gives no more places, and waits until all of them are free.
    pub(super) async fn close(&self) {
        // Before it is looked at, so that no change is missed.
        let all_free = self.all_free.notified();
        let busy = {
            let mut state = self.state();
            state.closed = true;
            state.waiting.clear();
            state.places.iter().any(|slot| slot.held.is_some())
        };
        if busy {
            all_free.await;
        }
    }

    /// The best of the free places: of `any` connection, or only of those that know the tenant.
    fn best(&self, state: &State, ask: Ask, any: bool) -> Option<usize> {
        let free = (0..state.places.len()).filter(|place| state.places[*place].held.is_none());
        let Some(tenant) = ask.tenant else { return free.min() };
        let own = self.own_lane(state, tenant);
        let suits = |place: &usize| {
            any || place / self.lane_size == own || state.places[*place].known.has(tenant)
        };
        // Of the same lane always the first that is free, so that the others stay cold.
        free.filter(suits)
            .max_by_key(|place| (score(tenant, place / self.lane_size), Reverse(*place)))
    }

    /// Whether it is of no use to wait for the own lane.
    fn is_held_long(&self, state: &State, ask: Ask) -> bool {
        self.own_places(state, ask).all(|slot| slot.held.is_some_and(|ask| ask.hold == Hold::Long))
    }

    /// Whether the tenant has more to do than its own lane can do at once.
    fn is_in_demand(&self, state: &State, ask: Ask) -> bool {
        let same = |other: &Ask| other.tenant == ask.tenant;
        let mut waiting = state.waiting.iter().take(LOOKED_AT);
        self.own_places(state, ask).any(|slot| slot.held.as_ref().is_some_and(same))
            || waiting.any(|waiting| same(&waiting.ask))
    }

    /// The places of the own lane: none for the registry.
    fn own_places<'a>(&self, state: &'a State, ask: Ask) -> impl Iterator<Item = &'a Slot> {
        let own = ask.tenant.map(|tenant| self.own_lane(state, tenant) * self.lane_size);
        let count = if own.is_some() { self.lane_size } else { 0 };
        state.places.iter().skip(own.unwrap_or_default()).take(count)
    }

    fn own_lane(&self, state: &State, tenant: u64) -> usize {
        let lanes = state.places.len().div_ceil(self.lane_size);
        (0..lanes).max_by_key(|lane| score(tenant, *lane)).unwrap_or_default()
    }

    /// Which of those who wait is served by a place.
    fn next_for(&self, state: &State, place: usize) -> Option<usize> {
        let waited = |waiting: &Waiting| waiting.since.elapsed();
        if waited(state.waiting.front()?) >= AGED {
            return Some(0);
        }
        let first =
            |suits: &dyn Fn(&Waiting) -> bool| state.waiting.iter().take(LOOKED_AT).position(suits);
        let (lane, known) = (place / self.lane_size, &state.places[place].known);
        let of_lane =
            |it: &Waiting| it.ask.tenant.is_none_or(|tenant| self.own_lane(state, tenant) == lane);
        let is_known = |it: &Waiting| it.ask.tenant.is_some_and(|tenant| known.has(tenant));
        let is_late = |it: &Waiting| {
            it.anywhere || waited(it) >= OWN_WITHIN || self.is_held_long(state, it.ask)
        };
        first(&of_lane).or_else(|| first(&is_known)).or_else(|| first(&is_late))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give(&mut self, place: usize, ask: Ask) {
        let slot = &mut self.places[place];
        slot.held = Some(ask);
        if let Some(tenant) = ask.tenant {
            slot.known.note(tenant);
        }
    }

    fn enqueue(&mut self, ask: Ask, anywhere: bool) -> (u64, oneshot::Receiver<usize>) {
        let (hand, receiver) = oneshot::channel();
        self.last += 1;
        let since = Instant::now();
        self.waiting.push_back(Waiting { number: self.last, ask, anywhere, since, hand });
        (self.last, receiver)
    }
}

/// Somebody who waits. Whoever stops waiting leaves nothing behind.
struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
    receiver: oneshot::Receiver<usize>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.queue.state();
            let waiting = state.waiting.iter().position(|it| it.number == self.number);
            waiting.map(|index| state.waiting.remove(index));
        }
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
