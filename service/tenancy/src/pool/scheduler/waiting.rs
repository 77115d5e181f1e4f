//! The requests that wait for a connection, in the order in which they are served.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::super::request::{Hold, Owner};

/// The requests that wait: one queue for each owner, first in, first out, and an index of the
/// owners that may have another connection. Every change takes logarithmic time.
#[derive(Default)]
pub(super) struct Waiting {
    lines: HashMap<Owner, Line>,
    /// By the connections that the owner holds, then by the age of its oldest request.
    order: BTreeMap<(usize, u64), Owner>,
    /// The same for each preferred connection, and for owners without one.
    of_place: BTreeMap<(Option<usize>, usize, u64), Owner>,
    last: u64,
}

/// The waiting requests of one owner; at least one.
pub(super) struct Line {
    /// The connection that the owner prefers.
    pub(super) own: Option<usize>,
    /// Connections that the owner holds, and may hold.
    held: usize,
    pub(super) limit: usize,
    waiters: BTreeMap<u64, Waiter>,
    /// Where the owner is in the index.
    listed: Option<(usize, u64)>,
}

/// One waiting request.
pub(super) struct Waiter {
    pub(super) hold: Hold,
    pub(super) since: Instant,
    /// Whether it takes any connection, not only one that suits the tenant.
    pub(super) anywhere: bool,
    pub(super) hand: oneshot::Sender<usize>,
}

impl Waiting {
    /// Appends a request to those of its owner. Returns its number, by which it can be removed.
    pub(super) fn push(
        &mut self,
        owner: Owner,
        own: Option<usize>,
        (held, limit): (usize, usize),
        waiter: Waiter,
    ) -> u64 {
        self.last += 1;
        let number = self.last;
        let new = || Line { own, held, limit, waiters: BTreeMap::new(), listed: None };
        let line = self.lines.entry(owner).or_insert_with(new);
        (line.held, line.limit) = (held, limit);
        line.waiters.insert(number, waiter);
        self.list(owner);
        number
    }

    /// Removes the oldest request of an owner.
    pub(super) fn pop(&mut self, owner: Owner) -> Option<Waiter> {
        let (_, waiter) = self.lines.get_mut(&owner)?.waiters.pop_first()?;
        self.list(owner);
        Some(waiter)
    }

    /// Removes a request, if it still waits.
    pub(super) fn remove(&mut self, owner: Owner, number: u64) {
        if let Some(line) = self.lines.get_mut(&owner)
            && line.waiters.remove(&number).is_some()
        {
            self.list(owner);
        }
    }

    /// An owner that waits holds more or fewer connections now.
    pub(super) fn set_held(&mut self, owner: Owner, held: impl FnOnce() -> usize) {
        if let Some(line) = self.lines.get_mut(&owner) {
            line.held = held();
            self.list(owner);
        }
    }

    /// An owner that waits has more to do than one connection can do: its oldest request takes any
    /// connection. Whether the owner waits.
    pub(super) fn is_in_demand(&mut self, owner: Owner, limit: usize) -> bool {
        let Some(line) = self.lines.get_mut(&owner) else { return false };
        line.limit = limit;
        if let Some(mut oldest) = line.waiters.first_entry() {
            oldest.get_mut().anywhere = true;
        }
        self.list(owner);
        true
    }

    pub(super) fn line(&self, owner: Owner) -> Option<&Line> {
        self.lines.get(&owner)
    }

    /// How many requests of an owner wait.
    pub(super) fn len(&self, owner: Owner) -> usize {
        self.lines.get(&owner).map_or(0, |line| line.waiters.len())
    }

    /// The fewest connections that an owner holds which may have another one, if that is at least
    /// `level`.
    pub(super) fn next_level(&self, level: usize) -> Option<usize> {
        self.order.range((level, 0)..).next().map(|((held, _), _)| *held)
    }

    /// The owners that hold `level` connections and may have another one; the one whose oldest
    /// request is the oldest comes first.
    pub(super) fn at(&self, level: usize) -> impl Iterator<Item = (Owner, &Line)> {
        let owners = self.order.range((level, 0)..=(level, u64::MAX));
        owners.filter_map(|(_, owner)| Some((*owner, self.lines.get(owner)?)))
    }

    /// The first of them to which a connection belongs. To owners without a connection of their
    /// own all belong.
    pub(super) fn of_place(&self, place: usize, level: usize) -> Option<Owner> {
        let first = |place: Option<usize>| {
            self.of_place.range((place, level, 0)..=(place, level, u64::MAX)).next()
        };
        let firsts = [first(Some(place)), first(None)].into_iter().flatten();
        firsts.min_by_key(|((_, _, number), _)| *number).map(|(_, owner)| *owner)
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.order.clear();
        self.of_place.clear();
    }

    /// Puts an owner where it belongs in the index. Forgets it when none of its requests wait.
    fn list(&mut self, owner: Owner) {
        let Some(line) = self.lines.get_mut(&owner) else { return };
        let oldest = line.waiters.first_key_value().map(|(number, _)| *number);
        let key = oldest.filter(|_| line.held < line.limit).map(|oldest| (line.held, oldest));
        if key != line.listed {
            if let Some((held, number)) = line.listed {
                self.order.remove(&(held, number));
                self.of_place.remove(&(line.own, held, number));
            }
            if let Some((held, number)) = key {
                self.order.insert((held, number), owner);
                self.of_place.insert((line.own, held, number), owner);
            }
            line.listed = key;
        }
        if oldest.is_none() {
            self.lines.remove(&owner);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.order.is_empty() && self.of_place.is_empty()
    }
}

impl Line {
    /// How long the oldest request has waited.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.oldest().map_or(Duration::ZERO, |(_, waiter)| now - waiter.since)
    }

    /// The oldest request and its number.
    pub(super) fn oldest(&self) -> Option<(u64, &Waiter)> {
        self.waiters.first_key_value().map(|(number, waiter)| (*number, waiter))
    }
}
