//! Decides which request gets which slot.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    super::{
        affinity::rendezvous_score,
        recent_set::RecentSet,
        request::{Owner, Request, Usage},
        shares::Shares,
    },
    costs::{Costs, Debts},
    waiting::{OwnerQueue, Wait, WaitQueues, Waiter},
};
use crate::Busy;

/// Number of waiting owners that are checked for affinity to a released slot.
const SCAN_LIMIT: usize = 32;

pub(super) struct State {
    slots: Box<[SlotState]>,
    free: usize,
    shares: Shares,
    waiting: WaitQueues,
    pub(super) costs: Costs,
    debts: Debts,
    pub(super) closed: bool,
}

struct SlotState {
    held: Option<Held>,
    /// The tenants that the connection has served recently.
    recent: RecentSet,
}

#[derive(Clone, Copy)]
struct Held {
    owner: Owner,
    usage: Usage,
    since: Instant,
    /// Whether the connection had served the owner recently.
    is_known: bool,
    /// Whether the connection is opened meanwhile, which takes longer than what is measured.
    is_opened: bool,
}

/// What one owner takes of the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Load {
    pub(in super::super) in_use: usize,
    pub(in super::super) waiting: usize,
}

#[derive(Debug)]
pub(super) enum Assignment {
    Now(usize),
    Queued(Queued),
}

/// A request waits under this number until it is handed a slot.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) number: u64,
    /// After this time, it should ask again whether the preferred slot is held long.
    pub(super) patience: Duration,
    pub(super) receiver: oneshot::Receiver<usize>,
}

impl State {
    pub(super) fn new(slots: usize, recent_tenants: usize, shares: Shares) -> Self {
        let slot = || SlotState { held: None, recent: RecentSet::new(recent_tenants) };
        Self {
            slots: (0..slots).map(|_| slot()).collect(),
            free: slots,
            shares,
            waiting: WaitQueues::default(),
            costs: Costs::default(),
            debts: Debts::default(),
            closed: false,
        }
    }

    /// Assigns the best slot that a request may have now, or queues the request.
    pub(super) fn request(
        &mut self,
        request: Request<'_>,
        now: Instant,
    ) -> Result<Assignment, Busy> {
        let Request { owner, usage, slug, limits, .. } = request;
        let shares = self.shares.with(limits, self.slots.len());
        let (preferred, limit) = (self.preferred(owner), shares.connections);
        self.waiting.set_limit(owner, limit);
        if self.waiting.len(owner) == 0
            && let Some(slot) = self.best_free(owner, limit, preferred, false)
        {
            self.assign(slot, owner, usage, now);
            return Ok(Assignment::Now(slot));
        }
        self.serve(owner, now);
        let waiting = self.waiting.len(owner);
        let full = slug.filter(|_| waiting >= shares.waiting);
        let free = self.best_free(owner, limit, preferred, true);
        if waiting == 0
            && (full.is_some() || self.is_worth_more(owner, preferred, Duration::ZERO, now))
            && let Some(slot) = free
        {
            self.assign(slot, owner, usage, now);
            return Ok(Assignment::Now(slot));
        }
        if let Some(slug) = full {
            return Err(Busy { slug: slug.clone(), waiting });
        }
        let (sender, receiver) = oneshot::channel();
        let (held, patience) = (self.held(owner), self.costs.of_strange());
        let wait = match free {
            None => Wait::Forced,
            Some(_) if held > 0 || waiting > 0 => Wait::ForOwn,
            Some(_) => Wait::ForOthers,
        };
        let waiter = Waiter { usage, since: now, wait, sender };
        let number = self.waiting.push(owner, preferred, (held, limit), waiter);
        Ok(Assignment::Queued(Queued { number, patience, receiver }))
    }

    /// Assigns a free slot to a request that has waited, if it is its owner's oldest.
    pub(super) fn retry(&mut self, owner: Owner, number: u64, now: Instant) -> Option<usize> {
        let queue = self.waiting.queue(owner)?;
        if queue.oldest()?.0 != number {
            return None;
        }
        let any = self.accepts_any(owner, queue, now);
        let slot = self.best_free(owner, queue.limit, queue.preferred, any)?;
        let waiter = self.pop(owner, now)?;
        self.assign(slot, owner, waiter.usage, now);
        Some(slot)
    }

    /// Removes a request if it still waits.
    pub(super) fn cancel(&mut self, owner: Owner, number: u64) {
        self.waiting.remove(owner, number);
    }

    /// Assigns a certain slot if it is free and the owner may have it in place of one that it
    /// holds: one whose connection is still being opened, and which is released when it is open.
    pub(super) fn try_acquire(&mut self, slot: usize, request: Request<'_>, now: Instant) -> bool {
        let Request { owner, usage, limits, .. } = request;
        let limit = self.shares.with(limits, self.slots.len()).connections;
        let others = self.held(owner).saturating_sub(1);
        let may = owner == Owner::IdleCheck || self.shares.allow(others, limit, self.free);
        let free = may && !self.closed && self.slots[slot].held.is_none();
        if free {
            self.assign(slot, owner, usage, now);
        }
        free
    }

    /// Hands a slot to the next request, or frees it.
    pub(super) fn release(&mut self, slot: usize, now: Instant) {
        let Some(held) = self.slots[slot].held else { return };
        let Held { owner: before, usage, since, is_known, is_opened } = held;
        if before.tenant().is_some() && !is_opened {
            self.costs.record(usage, is_known, now.saturating_duration_since(since));
        }
        self.set_free(slot);
        while let Some(owner) = self.next_for(slot, now)
            && self.hand_over(slot, owner, now).is_err()
        {}
        // Its owner had its share, and may now take another free slot.
        self.serve(before, now);
    }

    /// Assigns no more slots.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }

    /// The load of each owner that has any.
    pub(super) fn load(&self) -> HashMap<Owner, Load> {
        let mut load: HashMap<Owner, Load> = HashMap::new();
        for held in self.slots.iter().filter_map(|slot| slot.held) {
            load.entry(held.owner).or_default().in_use += 1;
        }
        for (owner, waiting) in self.waiting.lengths() {
            load.entry(owner).or_default().waiting = waiting;
        }
        load
    }

    pub(super) fn is_idle(&self) -> bool {
        self.free == self.slots.len()
    }

    /// Hands an owner the free slots that it may have.
    fn serve(&mut self, owner: Owner, now: Instant) {
        while let Some(queue) = self.waiting.queue(owner)
            && let any = self.accepts_any(owner, queue, now)
            && let Some(slot) = self.best_free(owner, queue.limit, queue.preferred, any)
        {
            let _ = self.hand_over(slot, owner, now);
        }
    }

    /// Hands a slot to the oldest request of an owner. An error if its caller has gone.
    fn hand_over(&mut self, slot: usize, owner: Owner, now: Instant) -> Result<(), usize> {
        let waiter = self.pop(owner, now).ok_or(slot)?;
        self.assign(slot, owner, waiter.usage, now);
        waiter.sender.send(slot).inspect_err(|slot| self.set_free(*slot))
    }

    /// Takes the oldest request of an owner, and records how long it has waited.
    fn pop(&mut self, owner: Owner, now: Instant) -> Option<Waiter> {
        let waiter = self.waiting.pop(owner)?;
        let waited = now.saturating_duration_since(waiter.since);
        self.costs.record_wait(waited);
        if let Some(tenant) = owner.tenant() {
            self.debts.add(tenant, waiter.wait.as_debt(waited), now);
        }
        Some(waiter)
    }

    /// The owner that gets a released slot. Of those that hold the fewest connections:
    /// 1. one whose oldest request has waited far longer than others,
    /// 2. one that prefers the slot,
    /// 3. one that the connection has served recently,
    /// 4. one that accepts any connection.
    ///
    /// If all of them wait for another slot, an owner that holds more.
    fn next_for(&self, slot: usize, now: Instant) -> Option<Owner> {
        let mut level = 0;
        loop {
            level = self.waiting.next_level(level)?;
            if !self.shares.allow(level, usize::MAX, self.free) {
                return None;
            }
            let next = self.next_at_level(level, slot, now);
            if next.is_some() {
                return next;
            }
            level += 1;
        }
    }

    fn next_at_level(&self, level: usize, slot: usize, now: Instant) -> Option<Owner> {
        let (oldest, queue) = self.waiting.at_level(level).next()?;
        if queue.waited(now) >= self.costs.long_wait() {
            return Some(oldest);
        }
        let recent = &self.slots[slot].recent;
        let was_served = |owner: Owner| owner.tenant().is_some_and(|it| recent.contains(it));
        let first = |suits: &dyn Fn(Owner, &OwnerQueue) -> bool| {
            let mut scanned = self.waiting.at_level(level).take(SCAN_LIMIT);
            scanned.find(|(owner, queue)| suits(*owner, queue)).map(|(owner, _)| owner)
        };
        self.waiting
            .first_preferring(slot, level)
            .or_else(|| first(&|owner, _| was_served(owner)))
            .or_else(|| first(&|owner, queue| self.accepts_any(owner, queue, now)))
    }

    /// The best free slot that the owner may have: of `any`, or only of those whose connection has
    /// served the tenant.
    fn best_free(
        &self,
        owner: Owner,
        limit: usize,
        preferred: Option<usize>,
        any: bool,
    ) -> Option<usize> {
        if self.free == 0 || !self.shares.allow(self.held(owner), limit, self.free) {
            return None;
        }
        let is_free = |slot: &usize| self.slots[*slot].held.is_none();
        let mut free = (0..self.slots.len()).filter(is_free);
        let Some(tenant) = owner.tenant() else { return free.next() };
        if preferred.as_ref().is_some_and(is_free) {
            return preferred;
        }
        free.filter(|slot| any || self.slots[*slot].recent.contains(tenant))
            .max_by_key(|slot| rendezvous_score(tenant, *slot))
    }

    /// Whether the oldest request of an owner no longer waits for a connection that has served it.
    fn accepts_any(&self, owner: Owner, queue: &OwnerQueue, now: Instant) -> bool {
        let Some((_, oldest)) = queue.oldest() else { return false };
        let waited = queue.waited(now);
        waited >= self.costs.long_wait()
            || self.is_worth_more(owner, queue.preferred, oldest.wait.as_debt(waited), now)
    }

    /// Whether a request that has this debt, besides its tenant's, should take any slot: the use of
    /// the preferred one takes longer than a connection is worth that has not served the tenant, or
    /// its waits have all in all.
    fn is_worth_more(
        &self,
        owner: Owner,
        preferred: Option<usize>,
        debt: Duration,
        now: Instant,
    ) -> bool {
        let debts = owner.tenant().map_or(Duration::ZERO, |tenant| self.debts.of(tenant, now));
        debts + debt >= self.costs.of_strange() || self.is_held_long(preferred, now)
    }

    /// Whether a preferred slot is held, and expected to be so for longer than a connection is worth
    /// that has not served the tenant. True without a preferred slot.
    fn is_held_long(&self, preferred: Option<usize>, now: Instant) -> bool {
        let Some(slot) = preferred else { return true };
        self.slots[slot].held.is_some_and(|held| {
            let elapsed = now.saturating_duration_since(held.since);
            let remaining = self.costs.remaining(held.usage, held.is_known, elapsed);
            remaining > self.costs.of_strange()
        })
    }

    fn preferred(&self, owner: Owner) -> Option<usize> {
        let tenant = owner.tenant()?;
        (0..self.slots.len()).max_by_key(|slot| rendezvous_score(tenant, *slot))
    }

    /// The connection of a slot that is held is a new one.
    pub(super) fn set_new(&mut self, slot: usize) {
        let SlotState { held, recent } = &mut self.slots[slot];
        recent.clear();
        if let Some(held) = held {
            (held.is_known, held.is_opened) = (false, true);
            if let Some(tenant) = held.owner.tenant() {
                recent.insert(tenant);
            }
        }
    }

    fn held(&self, owner: Owner) -> usize {
        count_held(&self.slots, owner)
    }

    fn assign(&mut self, slot: usize, owner: Owner, usage: Usage, now: Instant) {
        let slot = &mut self.slots[slot];
        let is_known = owner.tenant().is_some_and(|tenant| !slot.recent.insert(tenant));
        slot.held = Some(Held { owner, usage, since: now, is_known, is_opened: false });
        if let Some(tenant) = owner.tenant().filter(|_| !is_known) {
            self.debts.clear(tenant);
        }
        self.free -= 1;
        self.waiting.set_held(owner, || count_held(&self.slots, owner));
    }

    fn set_free(&mut self, slot: usize) {
        let Some(Held { owner, .. }) = self.slots[slot].held.take() else { return };
        self.free += 1;
        self.waiting.set_held(owner, || count_held(&self.slots, owner));
    }
}

fn count_held(slots: &[SlotState], owner: Owner) -> usize {
    slots.iter().filter(|slot| slot.held.is_some_and(|held| held.owner == owner)).count()
}

#[cfg(test)]
mod model;
