use std::hash::{DefaultHasher, Hash, Hasher};

use super::recent_set::RecentSet;

/// Decides which statements a connection keeps prepared.
///
/// The driver's cache evicts the statement that was used the longest ago, which takes a round trip,
/// and the server forgets its plan. So once the cache is full, a statement is admitted only when it
/// recurs among the next `capacity` new ones; until then it is cold: sent with literals, or
/// prepared for one use (without a name, if the session is known to be the same for both trips).
/// A statement that is in the cache is used from there in any case.
pub(super) struct StatementAdmission {
    recent: RecentSet,
    capacity: usize,
    /// Number of statements that were not among the recent ones.
    new: u64,
}

impl StatementAdmission {
    pub(super) fn new(capacity: usize) -> Self {
        Self { recent: RecentSet::new(capacity), capacity, new: 0 }
    }

    /// Number of statements so far that were not among the recent ones.
    pub(super) fn new_statements(&self) -> u64 {
        self.new
    }

    /// Whether to keep this statement, which is about to be sent.
    pub(super) fn admits(&mut self, sql: &str) -> bool {
        if self.capacity == 0 {
            self.new += 1;
            return false;
        }
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let had_room = !self.recent.has_overflowed();
        let is_new = self.recent.insert(hasher.finish());
        self.new += u64::from(is_new);
        had_room || !is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_the_cache_is_full_every_statement_is_admitted() {
        let mut admission = StatementAdmission::new(100);
        assert!((0..100).all(|n| admission.admits(&format!("SELECT {n}"))));
    }

    #[test]
    fn once_it_is_full_only_statements_that_recur_soon_are_admitted() {
        let mut admission = StatementAdmission::new(100);
        let mut others = 0..;
        let mut rare = |admission: &mut StatementAdmission, count| {
            let rare = others.by_ref().take(count);
            rare.filter(|n| admission.admits(&format!("SELECT {n}"))).count()
        };
        rare(&mut admission, 200);
        assert_eq!(rare(&mut admission, 1000), 0);
        for n in 0..10 {
            let sql = format!("SELECT name FROM guards_{n}");
            admission.admits(&sql);
            rare(&mut admission, 90);
            assert!(admission.admits(&sql));
        }
    }

    #[test]
    fn a_cache_without_capacity_admits_nothing() {
        assert!(!StatementAdmission::new(0).admits("SELECT 1"));
    }
}
