//! Requests that wait for a connection, in the order in which they are served.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::super::request::{Owner, Usage};

/// A FIFO queue for each owner, and an index of the owners that may have another connection. Every
/// change takes logarithmic time.
#[derive(Default)]
pub(super) struct WaitQueues {
    queues: HashMap<Owner, OwnerQueue>,
    /// By the number of connections that the owner holds, then by its oldest request.
    order: BTreeMap<(usize, u64), Owner>,
    /// The same for each preferred slot, and for owners without one.
    by_preferred: BTreeMap<(Option<usize>, usize, u64), Owner>,
    last: u64,
}

/// The waiting requests of one owner; at least one.
pub(super) struct OwnerQueue {
    pub(super) preferred: Option<usize>,
    /// Number of connections that the owner holds.
    held: usize,
    /// Number of connections that it may hold.
    pub(super) limit: usize,
    waiters: BTreeMap<u64, Waiter>,
    /// The key of the owner in the index.
    index_key: Option<(usize, u64)>,
}

pub(super) struct Waiter {
    pub(super) usage: Usage,
    pub(super) since: Instant,
    pub(super) wait: Wait,
    pub(super) sender: oneshot::Sender<usize>,
}

/// For what a request of a tenant waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For any connection: none was free.
    Forced,
    /// For one that its tenant itself uses, while others were free.
    ForOwn,
    /// For one that others use, while others were free.
    ForOthers,
}

impl Wait {
    /// The part of a wait that counts as demand of the tenant. Waits for others vary with their
    /// load: they count only if there are many.
    pub(super) fn as_debt(self, waited: Duration) -> Duration {
        match self {
            Self::Forced => Duration::ZERO,
            Self::ForOwn => waited,
            Self::ForOthers => waited / 16,
        }
    }
}

impl WaitQueues {
    /// Appends a request to its owner's queue. Returns the number by which it can be removed.
    pub(super) fn push(
        &mut self,
        owner: Owner,
        preferred: Option<usize>,
        (held, limit): (usize, usize),
        waiter: Waiter,
    ) -> u64 {
        self.last += 1;
        let number = self.last;
        let new =
            || OwnerQueue { preferred, held, limit, waiters: BTreeMap::new(), index_key: None };
        let queue = self.queues.entry(owner).or_insert_with(new);
        (queue.held, queue.limit) = (held, limit);
        queue.waiters.insert(number, waiter);
        self.reindex(owner);
        number
    }

    /// Removes the oldest request of an owner.
    pub(super) fn pop(&mut self, owner: Owner) -> Option<Waiter> {
        let (_, waiter) = self.queues.get_mut(&owner)?.waiters.pop_first()?;
        self.reindex(owner);
        Some(waiter)
    }

    /// Removes a request if it still waits.
    pub(super) fn remove(&mut self, owner: Owner, number: u64) {
        if let Some(queue) = self.queues.get_mut(&owner)
            && queue.waiters.remove(&number).is_some()
        {
            self.reindex(owner);
        }
    }

    /// Updates the number of connections that an owner holds, if it waits.
    pub(super) fn set_held(&mut self, owner: Owner, held: impl FnOnce() -> usize) {
        if let Some(queue) = self.queues.get_mut(&owner) {
            queue.held = held();
            self.reindex(owner);
        }
    }

    /// Updates the number of connections that an owner may hold, if it waits.
    pub(super) fn set_limit(&mut self, owner: Owner, limit: usize) {
        if let Some(queue) = self.queues.get_mut(&owner)
            && queue.limit != limit
        {
            queue.limit = limit;
            self.reindex(owner);
        }
    }

    pub(super) fn queue(&self, owner: Owner) -> Option<&OwnerQueue> {
        self.queues.get(&owner)
    }

    /// Number of waiting requests of an owner.
    pub(super) fn len(&self, owner: Owner) -> usize {
        self.queues.get(&owner).map_or(0, |queue| queue.waiters.len())
    }

    /// Number of waiting requests of each owner that waits.
    pub(super) fn lengths(&self) -> impl Iterator<Item = (Owner, usize)> {
        self.queues.iter().map(|(owner, queue)| (*owner, queue.waiters.len()))
    }

    /// The smallest number of connections, at least `level`, held by an owner that may have another.
    pub(super) fn next_level(&self, level: usize) -> Option<usize> {
        self.order.range((level, 0)..).next().map(|((held, _), _)| *held)
    }

    /// The owners that hold `level` connections and may have another one, by the age of their
    /// oldest request.
    pub(super) fn at_level(&self, level: usize) -> impl Iterator<Item = (Owner, &OwnerQueue)> {
        let owners = self.order.range((level, 0)..=(level, u64::MAX));
        owners.filter_map(|(_, owner)| Some((*owner, self.queues.get(owner)?)))
    }

    /// The first of them that prefers a slot. Owners without a preferred slot prefer every slot.
    pub(super) fn first_preferring(&self, slot: usize, level: usize) -> Option<Owner> {
        let first = |slot: Option<usize>| {
            self.by_preferred.range((slot, level, 0)..=(slot, level, u64::MAX)).next()
        };
        let firsts = [first(Some(slot)), first(None)].into_iter().flatten();
        firsts.min_by_key(|((_, _, number), _)| *number).map(|(_, owner)| *owner)
    }

    pub(super) fn clear(&mut self) {
        self.queues.clear();
        self.order.clear();
        self.by_preferred.clear();
    }

    /// Moves an owner to its place in the index, or removes it if none of its requests wait.
    fn reindex(&mut self, owner: Owner) {
        let Some(queue) = self.queues.get_mut(&owner) else { return };
        let oldest = queue.waiters.first_key_value().map(|(number, _)| *number);
        let key = oldest.filter(|_| queue.held < queue.limit).map(|oldest| (queue.held, oldest));
        if key != queue.index_key {
            if let Some((held, number)) = queue.index_key {
                self.order.remove(&(held, number));
                self.by_preferred.remove(&(queue.preferred, held, number));
            }
            if let Some((held, number)) = key {
                self.order.insert((held, number), owner);
                self.by_preferred.insert((queue.preferred, held, number), owner);
            }
            queue.index_key = key;
        }
        if oldest.is_none() {
            self.queues.remove(&owner);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.order.is_empty() && self.by_preferred.is_empty()
    }
}

impl OwnerQueue {
    /// How long the oldest request has waited.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.oldest().map_or(Duration::ZERO, |(_, waiter)| now - waiter.since)
    }

    /// The oldest request and its number.
    pub(super) fn oldest(&self) -> Option<(u64, &Waiter)> {
        self.waiters.first_key_value().map(|(number, waiter)| (*number, waiter))
    }
}
