//! Which request gets which connection.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{
    super::{
        affinity::score,
        request::{Ask, Hold, Owner},
        seen::Recent,
        shares::Shares,
    },
    waiting::{Line, Waiter, Waiting},
};
use crate::Busy;

/// How long a statement waits for the connection that its tenant prefers, while others idle that
/// have not served the tenant. On one of these it would take longer than a statement usually
/// takes, and push out what they have cached.
pub(super) const OWN_WITHIN: Duration = Duration::from_millis(5);

/// Among owners with equally many connections, a request that has waited for so long precedes
/// those that prefer the connection.
pub(super) const AGED: Duration = Duration::from_millis(50);

/// So many waiting owners are examined for whether a connection has served them.
const EXAMINED: usize = 32;

/// The places of the connections, and the requests that wait for one.
pub(super) struct State {
    places: Box<[Slot]>,
    free: usize,
    shares: Shares,
    waiting: Waiting,
    pub(super) closed: bool,
}

struct Slot {
    held: Option<Held>,
    /// The tenants that the connection has served recently.
    known: Recent,
}

#[derive(Clone, Copy)]
struct Held {
    owner: Owner,
    hold: Hold,
    since: Instant,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Turn {
    Now(usize),
    /// It waits under this number until it is handed a place.
    Later(u64, oneshot::Receiver<usize>),
}

impl State {
    pub(super) fn new(places: usize, known_tenants: usize, shares: Shares) -> Self {
        let slot = || Slot { held: None, known: Recent::new(known_tenants) };
        let slots = (0..places).map(|_| slot()).collect();
        Self { places: slots, free: places, shares, waiting: Waiting::default(), closed: false }
    }

    /// Takes the place that suits a request best, if it may have one now.
    pub(super) fn ask(&mut self, ask: Ask<'_>, now: Instant) -> Result<Turn, Busy> {
        let Ask { owner, hold, slug, limits } = ask;
        let shares = self.shares.with(limits, self.places.len());
        let (own, limit) = (self.own(owner), shares.connections);
        let waits = self.waiting.is_in_demand(owner, limit);
        if waits {
            self.serve(owner, now);
        }
        let waiting = self.waiting.len(owner);
        let anywhere = waits || self.is_of_no_use_to_wait_for(own, owner, now);
        let full = slug.filter(|_| waiting >= shares.waiting);
        if waiting == 0
            && let Some(place) = self.best(owner, limit, own, anywhere || full.is_some())
        {
            self.give(place, Held { owner, hold, since: now });
            return Ok(Turn::Now(place));
        }
        if let Some(slug) = full {
            return Err(Busy { slug: slug.clone(), waiting });
        }
        let (hand, receiver) = oneshot::channel();
        let (held, waiter) = (self.held(owner), Waiter { hold, since: now, anywhere, hand });
        let number = self.waiting.push(owner, own, (held, limit), waiter);
        Ok(Turn::Later(number, receiver))
    }

    /// Takes any place for a request that has waited for the preferred one, if it is the next of
    /// its owner and there is one.
    pub(super) fn ask_again(&mut self, owner: Owner, number: u64, now: Instant) -> Option<usize> {
        let line = self.waiting.line(owner)?;
        if line.oldest()?.0 != number {
            return None;
        }
        let place = self.best(owner, line.limit, line.own, true)?;
        let waiter = self.waiting.pop(owner)?;
        self.give(place, Held { owner, hold: waiter.hold, since: now });
        Some(place)
    }

    /// Forgets a request, if it still waits.
    pub(super) fn give_up(&mut self, owner: Owner, number: u64) {
        self.waiting.remove(owner, number);
    }

    /// Takes a certain place, if it is free and the owner may have it instead of one that it holds:
    /// one whose connection does not come, and is given back when it does.
    pub(super) fn take_free(&mut self, place: usize, ask: Ask<'_>, now: Instant) -> bool {
        let Ask { owner, hold, limits, .. } = ask;
        let limit = self.shares.with(limits, self.places.len()).connections;
        let others = self.held(owner).saturating_sub(1);
        let may = owner == Owner::Upkeep || self.shares.allow(others, limit, self.free);
        let free = may && !self.closed && self.places[place].held.is_none();
        if free {
            self.give(place, Held { owner, hold, since: now });
        }
        free
    }

    /// Hands a place to the next request, or sets it free.
    pub(super) fn give_back(&mut self, place: usize, now: Instant) {
        let Some(Held { owner: before, .. }) = self.places[place].held else { return };
        self.set_free(place);
        while let Some(owner) = self.next_for(place, now)
            && self.hand_over(place, owner, now).is_err()
        {}
        // The owner before had its share, and may have another place that is free.
        if self.waiting.line(before).is_some_and(|line| self.takes_any(line, now)) {
            self.serve(before, now);
        }
    }

    /// Gives no more places.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.free == self.places.len()
    }

    /// Gives an owner the places that it may have, and that are free.
    fn serve(&mut self, owner: Owner, now: Instant) {
        while let Some(line) = self.waiting.line(owner)
            && let Some(place) = self.best(owner, line.limit, line.own, true)
        {
            let _ = self.hand_over(place, owner, now);
        }
    }

    /// Gives a place to the oldest request of an owner. An error if that has given up.
    fn hand_over(&mut self, place: usize, owner: Owner, now: Instant) -> Result<(), usize> {
        let waiter = self.waiting.pop(owner).ok_or(place)?;
        self.give(place, Held { owner, hold: waiter.hold, since: now });
        waiter.hand.send(place).inspect_err(|place| self.set_free(*place))
    }

    /// The owner that is served by a place: of those that hold the fewest connections
    /// 1. one whose oldest request has waited for long,
    /// 2. one that prefers the place,
    /// 3. one that the connection has served recently,
    /// 4. one that takes any connection.
    ///
    /// If all of them rather wait for another connection, one that holds more.
    fn next_for(&self, place: usize, now: Instant) -> Option<Owner> {
        let mut level = 0;
        loop {
            level = self.waiting.next_level(level)?;
            if !self.shares.allow(level, usize::MAX, self.free) {
                return None;
            }
            let next = self.next_at(level, place, now);
            if next.is_some() {
                return next;
            }
            level += 1;
        }
    }

    fn next_at(&self, level: usize, place: usize, now: Instant) -> Option<Owner> {
        let (oldest, line) = self.waiting.at(level).next()?;
        if line.waited(now) >= AGED {
            return Some(oldest);
        }
        let known = &self.places[place].known;
        let is_known = |owner: &Owner| owner.tenant().is_some_and(|tenant| known.has(tenant));
        let first = |suits: &dyn Fn(Owner, &Line) -> bool| {
            let mut examined = self.waiting.at(level).take(EXAMINED);
            examined.find(|(owner, line)| suits(*owner, line)).map(|(owner, _)| owner)
        };
        self.waiting
            .of_place(place, level)
            .or_else(|| first(&|owner, _| is_known(&owner)))
            .or_else(|| first(&|_, line| self.takes_any(line, now)))
    }

    /// The best of the free places, if the owner may have one: of `any` connection, or only of
    /// those that have served the tenant.
    fn best(&self, owner: Owner, limit: usize, own: Option<usize>, any: bool) -> Option<usize> {
        if self.free == 0 || !self.shares.allow(self.held(owner), limit, self.free) {
            return None;
        }
        let is_free = |place: &usize| self.places[*place].held.is_none();
        let mut free = (0..self.places.len()).filter(is_free);
        let Some(tenant) = owner.tenant() else { return free.next() };
        if own.as_ref().is_some_and(is_free) {
            return own;
        }
        free.filter(|place| any || self.places[*place].known.has(tenant))
            .max_by_key(|place| score(tenant, *place))
    }

    /// Whether the oldest request of an owner does not wait for the preferred connection any more.
    fn takes_any(&self, line: &Line, now: Instant) -> bool {
        line.oldest().is_some_and(|(_, waiter)| waiter.anywhere)
            || line.waited(now) >= OWN_WITHIN
            || self.is_held_for_long(line.own, now)
    }

    /// Whether a request of this owner should take any connection rather than wait for its own.
    fn is_of_no_use_to_wait_for(&self, own: Option<usize>, owner: Owner, now: Instant) -> bool {
        let by_itself = |place: usize| self.places[place].held.is_some_and(|it| it.owner == owner);
        self.is_held_for_long(own, now) || own.is_some_and(by_itself)
    }

    /// Whether it is unknown when the preferred connection will be free: it is held by a
    /// transaction, or by a statement that is slower than most. So it is if none is preferred.
    fn is_held_for_long(&self, own: Option<usize>, now: Instant) -> bool {
        let for_long = |held: Held| held.hold == Hold::Long || now - held.since >= OWN_WITHIN;
        own.is_none_or(|place| self.places[place].held.is_some_and(for_long))
    }

    /// The place that a tenant prefers.
    fn own(&self, owner: Owner) -> Option<usize> {
        let tenant = owner.tenant()?;
        (0..self.places.len()).max_by_key(|place| score(tenant, *place))
    }

    fn held(&self, owner: Owner) -> usize {
        held(&self.places, owner)
    }

    fn give(&mut self, place: usize, held_by: Held) {
        let (slot, owner) = (&mut self.places[place], held_by.owner);
        slot.held = Some(held_by);
        if let Some(tenant) = owner.tenant() {
            slot.known.note(tenant);
        }
        self.free -= 1;
        self.waiting.set_held(owner, || held(&self.places, owner));
    }

    fn set_free(&mut self, place: usize) {
        let Some(Held { owner, .. }) = self.places[place].held.take() else { return };
        self.free += 1;
        self.waiting.set_held(owner, || held(&self.places, owner));
    }
}

/// How many places an owner holds.
fn held(places: &[Slot], owner: Owner) -> usize {
    places.iter().filter(|slot| slot.held.is_some_and(|held| held.owner == owner)).count()
}

#[cfg(test)]
mod model;
