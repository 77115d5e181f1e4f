//! What a connection has seen before.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    mem::swap,
};

/// How many different things there were: a bit for each, by its hash.
pub(super) struct Seen {
    bits: Box<[u64]>,
    count: usize,
}

impl Seen {
    /// With eight times as many bits as things to be counted, few share one. With 0 nothing is.
    pub(super) fn new(most: usize) -> Self {
        let words = if most == 0 { 0 } else { (most / 8).next_power_of_two() };
        Self { bits: vec![0; words].into(), count: 0 }
    }

    /// Whether it was not there before.
    pub(super) fn note(&mut self, hash: u64) -> bool {
        if self.bits.is_empty() {
            return false;
        }
        let (word, bit) = self.place(hash);
        let is_new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += usize::from(is_new);
        is_new
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize % self.bits.len().max(1), 1 << (hash & 63))
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn forget(&mut self) {
        self.bits.fill(0);
        self.count = 0;
    }
}

/// What there was lately: at least the last so many different things, at most twice as many.
pub(super) struct Recent {
    now: Seen,
    before: Seen,
    most: usize,
}

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        // Twice as many bits as usual, since two are asked.
        let [now, before] = [2 * most; 2].map(Seen::new);
        Self { now, before, most }
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.now.has(hash) || self.before.has(hash)
    }

    /// Whether it was not there lately.
    pub(super) fn note(&mut self, hash: u64) -> bool {
        let is_new = !self.has(hash);
        self.now.note(hash);
        if self.now.count() >= self.most {
            swap(&mut self.now, &mut self.before);
            self.now.forget();
        }
        is_new
    }

    /// Whether something was forgotten, or soon will be.
    fn is_full(&self) -> bool {
        self.before.count() > 0
    }
}

/// Which statements are worth a place among those that a connection keeps prepared.
///
/// The cache throws out the statement that was used the longest ago, which takes a round trip, and
/// the server forgets its plan. So as soon as the cache is full a statement gets in only when it
/// comes again among the next so many new ones as the cache holds; until then it is prepared for
/// this one time, under no name. What is in the cache stays in use whatever is said here.
pub(super) struct Worthy {
    recent: Recent,
    places: usize,
}

impl Worthy {
    pub(super) fn new(places: usize) -> Self {
        Self { recent: Recent::new(places), places }
    }

    /// Whether to keep this statement, which is about to be sent.
    pub(super) fn admits(&mut self, sql: &str) -> bool {
        if self.places == 0 {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let had_room = !self.recent.is_full();
        let is_new = self.recent.note(hasher.finish());
        had_room || !is_new
    }
}

#[cfg(test)]
mod tests {
    use tenantry_registry::TenantId;

    use super::*;
    use crate::pool::affinity::fold;

    #[test]
    fn tenants_are_counted_once_however_often_they_come() {
        let mut met = Seen::new(1000);
        let tenants: Vec<u64> = (0..1000).map(|_| fold(TenantId::generate())).collect();
        for _ in 0..3 {
            tenants.iter().for_each(|tenant| {
                met.note(*tenant);
            });
        }
        assert!((850..=1000).contains(&met.count()), "{}", met.count());
    }

    #[test]
    fn until_the_cache_is_full_every_statement_gets_in() {
        let mut worthy = Worthy::new(100);
        assert!((0..80).all(|n| worthy.admits(&format!("SELECT {n}"))));
    }

    #[test]
    fn once_it_is_full_a_statement_gets_in_when_it_comes_again_soon() {
        let mut worthy = Worthy::new(100);
        let mut others = 0..;
        let mut rare = |worthy: &mut Worthy, count| {
            let rare = others.by_ref().take(count);
            rare.filter(|n| worthy.admits(&format!("SELECT {n}"))).count()
        };
        rare(&mut worthy, 200);
        let admitted = rare(&mut worthy, 1000);
        assert!(admitted < 150, "{admitted} of 1000 got in, which come only once");
        for n in 0..10 {
            let sql = format!("SELECT name FROM guards_{n}");
            worthy.admits(&sql);
            rare(&mut worthy, 90);
            assert!(worthy.admits(&sql));
        }
    }

    #[test]
    fn without_places_nothing_is_kept() {
        assert!(!Worthy::new(0).admits("SELECT 1"));
    }
}
