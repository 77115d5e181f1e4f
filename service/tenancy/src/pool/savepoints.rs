//! The savepoints of one transaction.

/// Which savepoints there are, the innermost last. Every one has a number of its own.
#[derive(Default)]
pub(super) struct Savepoints {
    last: u64,
    live: Vec<u64>,
    /// The outermost one that was abandoned: what was done since is to be undone.
    dropped: Option<u64>,
}

impl Savepoints {
    pub(super) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.live.push(self.last);
        self.last
    }

    /// Ends one and those inside of it. False when it has ended with the one around it.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let place = self.live.iter().position(|live| *live == number);
        if let Some(place) = place {
            self.live.truncate(place);
        }
        place.is_some()
    }

    /// Nobody can send the server anything at this moment, so it is done before the next statement.
    pub(super) fn abandon(&mut self, number: u64) {
        if self.end(number) {
            // Those inside have larger numbers.
            self.dropped = Some(self.dropped.map_or(number, |other| other.min(number)));
        }
    }

    /// The one that is to be undone.
    pub(super) fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    pub(super) fn undone(&mut self) {
        self.dropped = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_dropped_one_is_undone_once() {
        let mut all = Savepoints::default();
        let [outer, inner] = [all.begin(), all.begin()];
        all.abandon(inner);
        assert_eq!(all.dropped(), Some(inner));
        all.abandon(outer);
        assert_eq!(all.dropped(), Some(outer));
        all.undone();
        assert_eq!(all.dropped(), None);
        assert!(!all.end(outer));
    }

    #[test]
    fn one_that_outlives_the_one_around_it_has_ended_with_it() {
        let mut all = Savepoints::default();
        let [outer, inner] = [all.begin(), all.begin()];
        assert!(all.end(outer));
        let next = all.begin();
        all.abandon(inner);
        assert_eq!(all.dropped(), None, "the inner one is no more");
        assert!(all.end(next));
    }
}
