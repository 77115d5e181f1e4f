/// The savepoints of one transaction, innermost last, each with a number that is used once.
#[derive(Default)]
pub(super) struct Savepoints {
    last: u64,
    live: Vec<u64>,
    /// The outermost one that was dropped: what was done since then has to be rolled back.
    dropped: Option<u64>,
}

impl Savepoints {
    pub(super) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.live.push(self.last);
        self.last
    }

    /// Ends a savepoint and those inside it. Returns false if it has ended already.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let index = self.live.iter().position(|live| *live == number);
        if let Some(index) = index {
            self.live.truncate(index);
        }
        index.is_some()
    }

    /// Marks a savepoint for rollback before the next statement, since nothing can be sent while it
    /// is dropped.
    pub(super) fn mark_dropped(&mut self, number: u64) {
        if self.end(number) {
            // Those inside have larger numbers.
            self.dropped = Some(self.dropped.map_or(number, |other| other.min(number)));
        }
    }

    /// The savepoint to roll back to before the next statement.
    pub(super) fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    pub(super) fn rolled_back(&mut self) {
        self.dropped = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_back_to_the_outermost_dropped_savepoint_once() {
        let mut all = Savepoints::default();
        let [outer, inner] = [all.begin(), all.begin()];
        all.mark_dropped(inner);
        assert_eq!(all.dropped(), Some(inner));
        all.mark_dropped(outer);
        assert_eq!(all.dropped(), Some(outer));
        all.rolled_back();
        assert_eq!(all.dropped(), None);
        assert!(!all.end(outer));
    }

    #[test]
    fn a_savepoint_ends_with_the_one_around_it() {
        let mut all = Savepoints::default();
        let [outer, inner] = [all.begin(), all.begin()];
        assert!(all.end(outer));
        let next = all.begin();
        all.mark_dropped(inner);
        assert_eq!(all.dropped(), None, "the inner one has ended");
        assert!(all.end(next));
    }
}
