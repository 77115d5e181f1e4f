//! Migrations that a new schema of an earlier version lacks, run after its rows were loaded.

use sea_orm::{ConnectionTrait, DbErr};
use tenantry_registry::SchemaName;

use super::{LIMIT_LOCK, RESET_LOCK_LIMIT, run_all};
use crate::{
    DynMigrator, Error, Target,
    lock::PROVISIONING,
    plan::{Step, all_up},
    run::commits::CHECK_DEFERRED,
    search_path::{restore_search_path, set_search_path},
    sql::query::{execute, execute_batch},
};

/// Runs the migrations that are not in `applied` in a schema that the caller's transaction has
/// created with [`DynMigrator::only`] these. Nothing is run if there are none.
///
/// # Errors
/// As for [`create_schema`](crate::create_schema), except for [`Error::SchemaExists`]. If the kind is
/// [`DbErrorKind::NeedsCommit`](crate::DbErrorKind::NeedsCommit), use
/// [`apply_remaining_with_commits`](crate::apply_remaining_with_commits).
pub async fn apply_remaining(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
    applied: &[String],
) -> Result<(), Error> {
    let steps = remaining(migrator, applied);
    if steps.is_empty() {
        return Ok(());
    }
    let locks_shared_tables = migrator.shared().is_some();
    if locks_shared_tables {
        execute_batch(txn, LIMIT_LOCK).await?;
    }
    let target = Target::Schema(schema.clone());
    let before = set_search_path(txn, &target, migrator).await?;
    run_all(txn, &target, migrator, steps, None).await?;
    restore_search_path(txn, &before).await?;
    if locks_shared_tables {
        execute_batch(txn, RESET_LOCK_LIMIT).await?;
    }
    Ok(())
}

pub(super) fn remaining(migrator: &DynMigrator, applied: &[String]) -> Vec<Step> {
    let mut steps = all_up(migrator);
    steps.retain(|step| !applied.iter().any(|name| name == step.migration.name()));
    steps
}

/// Makes fleet runs wait for the caller's transaction, which commits a new tenant, before they look
/// for tenants to migrate. [`insert_tenant`](crate::insert_tenant) does the same from the beginning.
///
/// # Errors
/// The errors of the database.
pub async fn announce_provisioning(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    let sql = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))";
    execute(txn, sql, [PROVISIONING.into()]).await
}

/// Checks the deferred constraints of the current schema now, as after each migration.
///
/// # Errors
/// The errors of the database, such as that of a violated constraint.
pub async fn check_deferred(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    execute_batch(txn, CHECK_DEFERRED).await
}
