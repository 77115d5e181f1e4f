//! How much of the pool one owner may take.

use crate::{Config, Limits};

/// How much of the pool one owner may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Most connections of one owner.
    pub(super) connections: usize,
    /// So many connections stay free for owners that hold none.
    pub(super) reserved: usize,
    /// Most waiting requests of one tenant.
    pub(super) waiting: usize,
}

impl Shares {
    pub(super) fn new(config: &Config) -> Self {
        let count = config.max_connections.max(1) as usize;
        Self {
            connections: (count * config.tenant_share as usize / 100).clamp(1, count),
            // Half of a pool that is too small for it.
            reserved: (config.reserved_connections as usize).min(count / 2),
            waiting: config.max_waiting as usize,
        }
    }

    /// These with the limits of one tenant. It may have any part of `count` connections, but none
    /// of those that are reserved unless it holds none.
    pub(super) fn with(self, limits: Limits, count: usize) -> Self {
        let connections = limits.max_connections.map(|most| most.get() as usize);
        Self {
            connections: connections.unwrap_or(self.connections).min(count),
            waiting: limits.max_waiting.map_or(self.waiting, |most| most as usize),
            ..self
        }
    }

    /// Whether an owner that holds `held` connections may take one of `free` ones.
    pub(super) fn allow(&self, held: usize, limit: usize, free: usize) -> bool {
        let spared = if held == 0 { 0 } else { self.reserved };
        held < limit && free > spared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most connections that a single owner gets out of an idle pool.
    fn most(change: impl FnOnce(&mut Config)) -> usize {
        let mut config = Config::new("postgres://localhost", crate::test_migrator::Migrator);
        change(&mut config);
        let (shares, count) = (Shares::new(&config), config.max_connections as usize);
        let mut held = 0;
        while shares.allow(held, shares.connections, count - held) {
            held += 1;
        }
        held
    }

    #[test]
    fn one_owner_gets_three_quarters_of_the_pool_and_never_the_last_two() {
        let sizes = [1, 2, 3, 4, 5, 6, 8, 10, 20, 100];
        let most = sizes.map(|size| most(|config| config.max_connections = size));
        assert_eq!(most, [1, 1, 2, 2, 3, 4, 6, 7, 15, 75]);
    }

    #[test]
    fn share_and_reserve_are_configurable_but_an_owner_always_gets_one() {
        assert_eq!(
            most(|config| (config.tenant_share, config.reserved_connections) = (100, 0)),
            10
        );
        assert_eq!(most(|config| config.tenant_share = 100), 8);
        assert_eq!(most(|config| config.tenant_share = 20), 2);
        assert_eq!(most(|config| config.tenant_share = 1), 1);
        assert_eq!(most(|config| config.tenant_share = 0), 1);
        assert_eq!(most(|config| config.tenant_share = 1000), 8);
        assert_eq!(most(|config| config.reserved_connections = 1000), 5);
    }
}
