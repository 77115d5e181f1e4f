use std::{collections::HashSet, mem::swap};

/// A set of recent values: at least the last `capacity` different ones, at most twice as many.
#[derive(Debug)]
pub(super) struct RecentSet {
    current: HashSet<u64>,
    previous: HashSet<u64>,
    capacity: usize,
}

impl RecentSet {
    pub(super) fn new(capacity: usize) -> Self {
        // Allocated at once, since values are added under the lock of the pool.
        let [current, previous] = [(); 2].map(|()| HashSet::with_capacity(capacity));
        Self { current, previous, capacity }
    }

    pub(super) fn contains(&self, value: u64) -> bool {
        self.current.contains(&value) || self.previous.contains(&value)
    }

    /// Adds a value. Returns whether it is new.
    pub(super) fn insert(&mut self, value: u64) -> bool {
        let is_new = !self.contains(value);
        self.current.insert(value);
        if self.current.len() >= self.capacity {
            swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
        is_new
    }

    pub(super) fn clear(&mut self) {
        self.current.clear();
        self.previous.clear();
    }

    /// Whether more than `capacity` values were added.
    pub(super) fn has_overflowed(&self) -> bool {
        !self.previous.is_empty()
    }
}
