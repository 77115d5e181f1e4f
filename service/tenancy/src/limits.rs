use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use sea_orm::sea_query::Expr;
use tenantry_registry::{Slug, audit::Action, tenant};

use super::{Error, Tenancy, locked_row::Changed};

/// Limits of one tenant that differ from those of [`Config`](super::Config). Stored in the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of connections that it holds at a time, in place of
    /// [`Config::tenant_share`](super::Config::tenant_share). Applies to each process.
    pub max_connections: Option<NonZeroU32>,
    /// Maximum number of its statements that wait for a connection, in place of
    /// [`Config::max_waiting`](super::Config::max_waiting).
    pub max_waiting: Option<u32>,
}

impl Limits {
    /// The limits in the columns of a row.
    pub(super) fn stored(max_connections: Option<i32>, max_waiting: Option<i32>) -> Self {
        let positive = |number: i32| u32::try_from(number).ok();
        Self {
            max_connections: max_connections.and_then(positive).and_then(NonZeroU32::new),
            max_waiting: max_waiting.and_then(positive),
        }
    }

    pub(super) fn columns(self) -> [Option<i32>; 2] {
        let stored = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        [self.max_connections.map(NonZeroU32::get), self.max_waiting].map(|it| it.map(stored))
    }
}

/// The limits of a tenant, which its statements read without a lock.
#[derive(Debug)]
pub(super) struct CurrentLimits {
    /// 0 for none.
    max_connections: AtomicU32,
    /// `u32::MAX` for none.
    max_waiting: AtomicU32,
}

impl CurrentLimits {
    pub(super) fn new(limits: Limits) -> Self {
        let it = Self { max_connections: AtomicU32::new(0), max_waiting: AtomicU32::new(u32::MAX) };
        it.set(limits);
        it
    }

    pub(super) fn set(&self, limits: Limits) {
        let connections = limits.max_connections.map_or(0, NonZeroU32::get);
        self.max_connections.store(connections, Ordering::Relaxed);
        self.max_waiting.store(limits.max_waiting.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Limits {
        let waiting = self.max_waiting.load(Ordering::Relaxed);
        Limits {
            max_connections: NonZeroU32::new(self.max_connections.load(Ordering::Relaxed)),
            max_waiting: Some(waiting).filter(|waiting| *waiting < u32::MAX),
        }
    }
}

impl Tenancy {
    /// Sets the limits of a tenant. All processes apply them to the next statement.
    ///
    /// # Errors
    /// [`Error::UnknownTenant`]; [`Error::Unavailable`] if the tenant is being dropped;
    /// [`Error::BeingMigrated`] if another program has locked the tenant for 10 seconds.
    pub async fn limit(&self, slug: &Slug, limits: Limits) -> Result<(), Error> {
        let [max_connections, max_waiting] = limits.columns();
        let columns = |row: &tenant::Model| {
            let columns = vec![
                (tenant::Column::MaxConnections, Expr::value(max_connections)),
                (tenant::Column::MaxWaiting, Expr::value(max_waiting)),
            ];
            let is_same = [row.max_connections, row.max_waiting] == [max_connections, max_waiting];
            Ok(if is_same { Vec::new() } else { columns })
        };
        let Changed { row, .. } = self.change_row(slug, &Action::Limited, columns).await?;
        self.inner.cache.set_limits(row.id, Limits::stored(max_connections, max_waiting));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_were_stored() {
        for (connections, waiting) in
            [(None, None), (Some(1), Some(0)), (Some(7), None), (None, Some(5000))]
        {
            let max_connections = connections.and_then(NonZeroU32::new);
            let limits = Limits { max_connections, max_waiting: waiting };
            let [connections, waiting] = limits.columns();
            assert_eq!(Limits::stored(connections, waiting), limits);
            assert_eq!(CurrentLimits::new(limits).get(), limits);
        }
        let most = Limits { max_connections: NonZeroU32::new(u32::MAX), max_waiting: None };
        assert_eq!(most.columns(), [Some(i32::MAX), None]);
    }

    #[test]
    fn invalid_numbers_are_ignored() {
        assert_eq!(Limits::stored(Some(0), Some(-1)), Limits::default());
        assert_eq!(Limits::stored(Some(-5), None), Limits::default());
    }
}
