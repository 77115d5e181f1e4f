//! The text of a tenant's statements, changed when what was prepared of them no longer fits.
//!
//! Every connection prepares a statement once and knows it again by its text. After a migration
//! has changed the type of a column that it returns, PostgreSQL refuses it on this connection from
//! then on: `cached plan must not change result type` (SQLSTATE 0A000). So the tenant's statements
//! get another text, by a comment behind them, and every connection prepares them anew.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The newest epoch of any tenant. One for each pool of connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Epochs(Arc<AtomicU64>);

/// The epoch of one tenant's statements.
#[derive(Debug)]
pub(super) struct Epoch {
    current: AtomicU64,
    all: Epochs,
}

impl Epochs {
    /// The epoch of a tenant that the process has not known, or has forgotten. Some connection may
    /// still know its statements, but none of an epoch that has only just begun.
    pub(super) fn join(&self) -> Epoch {
        Epoch { current: AtomicU64::new(self.0.load(Ordering::Relaxed)), all: self.clone() }
    }
}

impl Epoch {
    /// Puts the current epoch behind a statement, and returns it. Until the first one has begun
    /// nothing is added.
    pub(super) fn mark(&self, sql: &mut String) -> u64 {
        let epoch = self.current.load(Ordering::Relaxed);
        if epoch > 0 {
            // Writing to a string does not fail.
            let _ = write!(sql, " /*{epoch}*/");
        }
        epoch
    }

    /// Begins a new epoch, as a statement of the epoch `stale` was refused. Many statements that
    /// are refused at the same time begin only one.
    ///
    /// The number is one that no statement has had before, on whatever connection: behind the text
    /// of another tenant's bare SQL, or that of a time that the process has forgotten, it could
    /// stand for something prepared long ago.
    pub(super) fn renew(&self, stale: u64) {
        let next = self.all.0.fetch_add(1, Ordering::Relaxed) + 1;
        // An error says that somebody else has begun a new one, which is what was asked for.
        let _ = self.current.compare_exchange(stale, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(epoch: &Epoch) -> (String, u64) {
        let mut sql = "SELECT 1".to_owned();
        let number = epoch.mark(&mut sql);
        (sql, number)
    }

    #[test]
    fn statements_keep_their_text_until_one_is_stale() {
        let all = Epochs::default();
        let [one, two] = [all.join(), all.join()];
        assert_eq!(marked(&one), ("SELECT 1".to_owned(), 0));
        one.renew(0);
        assert_eq!(marked(&one), ("SELECT 1 /*1*/".to_owned(), 1));
        assert_eq!(marked(&two), ("SELECT 1".to_owned(), 0));
    }

    #[test]
    fn those_who_fail_together_begin_one_epoch_that_nobody_has_had() {
        let all = Epochs::default();
        let [one, two] = [all.join(), all.join()];
        for _ in 0..8 {
            one.renew(0);
        }
        let (_, first) = marked(&one);
        one.renew(0);
        assert_eq!(marked(&one).1, first, "a late one began another");
        two.renew(0);
        let (_, second) = marked(&two);
        assert!(second > first);
        // The tenant that is resolved next begins where no old text can be in its way.
        assert!(marked(&all.join()).1 >= second);
    }
}
