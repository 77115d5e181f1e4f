use tenantry_migrate::{DynMigrator, rehearse_in};

use super::{
    Error,
    pool::{MigrationTransaction, PoolHandle, bounded},
};

/// Records the migrations unless that was done, so that a tenant can be created by one batch. If
/// they cannot be recorded, the log says why, and they run one by one for each new tenant.
///
/// Takes a connection, so the caller must not hold one.
pub(super) async fn record(pool: &PoolHandle, migrator: &DynMigrator) {
    let rehearse = || {
        bounded(async {
            let txn = pool.begin_for_migrations().await?;
            let rehearsal = rehearse_in(&MigrationTransaction(&txn), migrator).await?;
            txn.rollback().await?;
            Ok::<_, Error>(rehearsal)
        })
    };
    // The creation reports that the role may not create schemas.
    if let Err(error) = migrator.record(rehearse).await
        && !matches!(error, Error::Owner(_))
    {
        tracing::warn!(%error, "recording the migrations failed; retrying for the next tenant");
    }
}
