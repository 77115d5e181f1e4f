use super::PoolOptions;
use crate::limits::Limits;

/// The part of the pool that one owner may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Maximum number of connections of one owner.
    pub(super) connections: usize,
    /// Number of connections that stay free for owners that hold none.
    pub(super) reserved: usize,
    /// Maximum number of waiting requests of one tenant.
    pub(super) waiting: usize,
}

impl Shares {
    pub(super) fn new(options: &PoolOptions) -> Self {
        let count = options.max_connections;
        Self {
            connections: (count * options.tenant_share / 100).clamp(1, count),
            // At most half of a small pool.
            reserved: options.reserved_connections.min(count / 2),
            waiting: options.max_waiting,
        }
    }

    /// The shares of a tenant with limits of its own. It may have all of `count` connections, except
    /// for those that are reserved for owners that hold none.
    pub(super) fn with(self, limits: Limits, count: usize) -> Self {
        let connections = limits.max_connections.map(|max| max.get() as usize);
        Self {
            connections: connections.unwrap_or(self.connections).min(count),
            waiting: limits.max_waiting.map_or(self.waiting, |max| max as usize),
            ..self
        }
    }

    /// The number of `count` connections that an owner gets if no other takes any.
    pub(super) fn most(self, count: usize) -> usize {
        self.connections.min(count.saturating_sub(self.reserved)).max(1)
    }

    /// Whether an owner that holds `held` connections may take one of `free` ones.
    pub(super) fn allow(&self, held: usize, limit: usize, free: usize) -> bool {
        let reserved = if held == 0 { 0 } else { self.reserved };
        held < limit && free > reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of connections that a single owner gets out of an idle pool.
    fn max(change: impl FnOnce(&mut PoolOptions)) -> usize {
        let mut options = PoolOptions::for_tests();
        change(&mut options);
        let (shares, count) = (Shares::new(&options), options.max_connections);
        let mut held = 0;
        while shares.allow(held, shares.connections, count - held) {
            held += 1;
        }
        assert_eq!(shares.most(count), held);
        held
    }

    #[test]
    fn one_owner_gets_three_quarters_of_the_pool_and_never_the_last_two() {
        let sizes = [1, 2, 3, 4, 5, 6, 8, 10, 20, 100];
        let max = sizes.map(|size| max(|options| options.max_connections = size));
        assert_eq!(max, [1, 1, 2, 2, 3, 4, 6, 7, 15, 75]);
    }

    #[test]
    fn share_and_reserve_are_configurable_but_an_owner_always_gets_one() {
        assert_eq!(
            max(|options| (options.tenant_share, options.reserved_connections) = (100, 0)),
            10
        );
        for (share, expected) in [(100, 8), (20, 2), (1, 1), (0, 1), (1000, 8)] {
            assert_eq!(max(|options| options.tenant_share = share), expected, "{share}");
        }
        assert_eq!(max(|options| options.reserved_connections = 1000), 5);
    }
}
