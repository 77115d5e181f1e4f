//! Recording what the migrations send, so that a new tenant takes one message.

use tenantry_migrate::{DynMigrator, rehearse_in};

use super::{
    Error,
    pool::{Lane, bounded},
};

/// Records the migrations unless that was done. Whether they are recorded: if not, the log says
/// why, and they run one by one for each new tenant.
///
/// Takes a connection of its own, so not to be called by who holds one.
pub(super) async fn record(lane: &Lane, migrator: &DynMigrator) -> bool {
    let rehearse = || {
        bounded(async {
            let begun = lane.begin_for_migrations().await?;
            let txn = begun.for_migrations();
            let txn = txn.ok_or_else(|| sea_orm::DbErr::Custom("no transaction".to_owned()))?;
            let rehearsal = rehearse_in(txn, migrator).await?;
            begun.rollback().await?;
            Ok::<_, Error>(rehearsal)
        })
    };
    if let Err(error) = migrator.record(rehearse).await {
        tracing::warn!(%error, "the migrations could not be recorded; trying again for the next tenant");
    }
    migrator.is_recorded().await
}
