//! A number in the SQL of a tenant's statements, advanced when their prepared forms are stale.
//!
//! A connection recognizes a prepared statement by its SQL. After a migration has changed the type
//! of a column that it returns, PostgreSQL refuses it on that connection: `cached plan must not
//! change result type` (SQLSTATE 0A000). A comment with a new number behind the SQL makes every
//! connection prepare the tenant's statements again.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

/// Number of bits of a process's first epoch.
const BITS: u32 = 48;

/// The epochs of all tenants. One for each pool.
///
/// Connections through a pooler share prepared statements with those of other processes, by their
/// SQL. So a process begins at a random number, and the epochs of two do not meet.
#[derive(Debug, Clone)]
pub(super) struct Epochs {
    /// The newest one; 0 as long as there is none.
    newest: Arc<AtomicU64>,
    first: u64,
}

/// The epoch of one tenant's statements.
#[derive(Debug)]
pub struct Epoch {
    current: AtomicU64,
    all: Epochs,
}

impl Default for Epochs {
    fn default() -> Self {
        // The last bits are random (RFC 9562, section 5.7).
        let (_, random) = Uuid::now_v7().as_u64_pair();
        Self { newest: Arc::default(), first: (random & ((1 << BITS) - 1)).max(1) }
    }
}

impl Epochs {
    /// The epoch of a tenant that is resolved for the first time, or again. A connection may have
    /// prepared its statements before, but not with the newest epoch.
    pub(super) fn join(&self) -> Epoch {
        Epoch { current: AtomicU64::new(self.newest.load(Ordering::Relaxed)), all: self.clone() }
    }
}

impl Epochs {
    fn next(&self) -> u64 {
        let after = |newest| if newest == 0 { self.first } else { newest + 1 };
        let order = Ordering::Relaxed;
        self.newest.fetch_update(order, order, |newest| Some(after(newest))).map_or(0, after)
    }
}

impl Epoch {
    /// Appends the current epoch to a statement, unless it is 0, and returns it.
    pub(super) fn append_to(&self, sql: &mut String) -> u64 {
        let epoch = self.current.load(Ordering::Relaxed);
        if epoch > 0 {
            // Writing to a string does not fail.
            let _ = write!(sql, " /*{epoch}*/");
        }
        epoch
    }

    /// Begins a new epoch after a statement of the epoch `stale` was refused, unless that was done.
    ///
    /// The number is new for all statements: with one that was used before, the SQL could match
    /// something that another tenant's bare SQL or this tenant has prepared earlier.
    pub(super) fn advance(&self, stale: u64) {
        let next = self.all.next();
        // Fails if another statement has advanced it.
        let _ = self.current.compare_exchange(stale, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(epoch: &Epoch) -> (String, u64) {
        let mut sql = "SELECT 1".to_owned();
        let number = epoch.append_to(&mut sql);
        (sql, number)
    }

    #[test]
    fn statements_keep_their_sql_until_one_is_stale() {
        let all = Epochs::default();
        let [one, two] = [all.join(), all.join()];
        assert_eq!(appended(&one), ("SELECT 1".to_owned(), 0));
        one.advance(0);
        let (sql, epoch) = appended(&one);
        assert_eq!(sql, format!("SELECT 1 /*{epoch}*/"));
        assert!(epoch > 0);
        assert_eq!(appended(&two), ("SELECT 1".to_owned(), 0));
    }

    #[test]
    fn processes_begin_at_different_epochs() {
        let mut first: Vec<u64> = (0..100).map(|_| Epochs::default().first).collect();
        assert!(first.iter().all(|it| (1..1 << BITS).contains(it)));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 100);
    }

    #[test]
    fn statements_that_fail_together_begin_one_epoch_that_was_not_used_before() {
        let all = Epochs::default();
        let [one, two] = [all.join(), all.join()];
        for _ in 0..8 {
            one.advance(0);
        }
        let (_, first) = appended(&one);
        one.advance(0);
        assert_eq!(appended(&one).1, first, "a late one began another");
        two.advance(0);
        let (_, second) = appended(&two);
        assert!(second > first);
        // A tenant that is resolved next begins with an epoch that no SQL has used.
        assert!(appended(&all.join()).1 >= second);
    }
}
