//! Copies of one tenant: [export](Tenancy::export) to an archive, [import](Tenancy::import) from one,
//! and [clone](Tenancy::clone_tenant).
//!
//! The rows are read in one snapshot and loaded into a new schema, which the program's own
//! migrations create as of the version of the rows; then the remaining migrations run. Rows pass as
//! text of `COPY`: the binary form contains OIDs of types, which differ for types of a tenant's
//! schema, and may change between versions of PostgreSQL.

mod archive;
mod build;
mod clone;
mod end;
mod error;
mod export;
mod import;
mod load;
mod manifest;
mod order;
mod progress;
mod snapshot;
mod suspended;
mod tables;

pub use clone::CloneOptions;
pub use error::TransferError;
pub use export::{ExportOptions, Exported};
pub use import::{ImportOptions, Imported};
#[cfg(fuzzing)]
pub use manifest::fuzz_manifest;
pub use progress::{OnProgress, TransferProgress};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{Error, Tenancy, pool::PoolHandle};

/// Limits the connections that copy tenants, so that creations get some.
pub(super) struct Transfers {
    permits: Semaphore,
    limit: usize,
}

impl Transfers {
    pub(super) fn new(lifecycle: &PoolHandle) -> Self {
        let (share, _) = lifecycle.copy_bounds();
        let limit = (share / 2).max(1);
        Self { permits: Semaphore::new(limit), limit }
    }
}

impl Tenancy {
    /// Permits a copy that takes so many connections. Waits for one of the others if they take too
    /// many.
    async fn transfer_permit(&self, connections: usize) -> Result<SemaphorePermit<'_>, Error> {
        let (_, patience) = self.inner.lifecycle.copy_bounds();
        let Transfers { permits, limit } = &self.inner.transfers;
        let taken = u32::try_from(connections.min(*limit)).unwrap_or(u32::MAX);
        match timeout(patience, permits.acquire_many(taken)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(TransferError::TooMany { limit: *limit }.into()),
        }
    }
}
