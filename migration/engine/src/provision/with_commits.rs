//! Creation of a schema with a commit after each migration.

use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter};
use tenantry_registry::{SchemaName, tenant};

use super::{create_schema_sql, drop_schema, map_duplicate_schema, remaining::remaining};
use crate::{
    DynMigrator, Error, Target,
    lock::poll_lock,
    plan::{Step, all_up},
    run::commits::{begin_next, run_each},
    search_path::set_search_path,
    shared::ensure_not_shared,
    sql::query::{execute_batch, scalar},
};

/// Comment on a schema that is being created; the schema's OID follows.
const MARK: &str = "tenantry: unfinished creation of schema ";

/// Creates the schema of one tenant with a commit after each migration, for migrators that
/// [`create_schema`](crate::create_schema) refuses with
/// [`DbErrorKind::NeedsCommit`](crate::DbErrorKind::NeedsCommit). `txn` must be unused, and its
/// connection is closed afterwards. The caller inserts the registry row in it and commits.
///
/// Until then, a comment marks the schema as unfinished, and a session lock shows that it is being
/// created. If the creation does not finish, [`remove_unfinished`] removes the schema.
///
/// # Errors
/// As for [`create_schema`](crate::create_schema), and [`Error::Busy`] if another creation of the
/// same schema does not end in time. The schema may stay unfinished.
pub async fn create_schema_with_commits(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
) -> Result<(), Error> {
    let target = Target::Schema(schema.clone());
    ensure_not_shared(&target, migrator)?;
    lock_creation(txn, "pg_try_advisory_lock", schema).await?;
    map_duplicate_schema(execute_batch(txn, &create_schema_sql(schema)).await, schema)?;
    run_marked(txn, schema, migrator, all_up(migrator)).await
}

/// [`apply_remaining`](super::apply_remaining) with a commit before each migration and after the
/// last one. The caller's transaction has created the schema and inserted no row of the registry;
/// the caller does that afterwards, and commits. Its connection is closed then. Until then, the
/// schema is marked as unfinished, see [`create_schema_with_commits`].
///
/// # Errors
/// As for [`create_schema_with_commits`].
pub async fn apply_remaining_with_commits(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
    applied: &[String],
) -> Result<(), Error> {
    lock_creation(txn, "pg_try_advisory_lock", schema).await?;
    run_marked(txn, schema, migrator, remaining(migrator, applied)).await
}

/// Runs these steps with a commit before each, in a schema that is marked as unfinished meanwhile.
async fn run_marked(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    migrator: &DynMigrator,
    steps: Vec<Step>,
) -> Result<(), Error> {
    let target = Target::Schema(schema.clone());
    let oid: Option<i64> =
        scalar(txn, "SELECT $1::regnamespace::oid::bigint", [schema.quoted().into()]).await?;
    let comment = |text: &str| format!("COMMENT ON SCHEMA {} IS {text}", schema.quoted());
    execute_batch(txn, &comment(&format!("'{MARK}{}'", oid.unwrap_or(0)))).await?;
    set_search_path(txn, &target, migrator).await?;
    if migrator.shared().is_some() {
        execute_batch(txn, "SET lock_timeout = '200ms'").await?;
    }
    run_each(txn, &target, migrator, steps).await?;
    begin_next(txn).await?;
    let done = format!("RESET lock_timeout; {}", comment("NULL"));
    Ok(execute_batch(txn, &done).await?)
}

/// Removes a schema that [`create_schema_with_commits`] did not finish, in the caller's transaction.
/// Returns whether there was one; it is gone now, or has become a tenant's in the meantime.
///
/// The mark contains the schema's OID, so a schema of the same name that a person created, or a
/// copy, does not have it.
///
/// # Errors
/// [`Error::Busy`] if the creation is still running, [`Error::Database`] otherwise.
pub async fn remove_unfinished(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<bool, Error> {
    if !is_unfinished(txn, schema).await? {
        return Ok(is_registered(txn, schema).await?);
    }
    lock_creation(txn, "pg_try_advisory_xact_lock", schema).await?;
    if is_unfinished(txn, schema).await? && !is_registered(txn, schema).await? {
        drop_schema(txn, schema).await?;
    }
    Ok(true)
}

/// An SQL expression for whether the schema `n` is being created with commits: it has the mark, and
/// the lock is held.
pub(crate) const BEING_CREATED: &str = "\
(CASE obj_description(n.oid, 'pg_namespace')
     WHEN 'tenantry: unfinished creation of schema ' || n.oid
     THEN NOT pg_try_advisory_xact_lock_shared(
         hashtextextended('tenantry creation of ' || n.nspname, 0))
     ELSE false END)";

async fn is_registered(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<bool, DbErr> {
    let rows = tenant::Entity::find().filter(tenant::Column::Schema.eq(schema.as_str()));
    let rows = rows.filter(tenant::Column::Status.ne(tenant::Status::Dropped));
    Ok(rows.count(txn).await? > 0)
}

async fn is_unfinished(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<bool, DbErr> {
    let sql = format!(
        "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = $1
         AND obj_description(oid, 'pg_namespace') = '{MARK}' || oid"
    );
    Ok(scalar::<bool>(txn, sql, [schema.as_str().into()]).await?.is_some())
}

async fn lock_creation(
    txn: &impl ConnectionTrait,
    function: &str,
    schema: &SchemaName,
) -> Result<(), Error> {
    const LIMIT: Duration = Duration::from_secs(60);
    match poll_lock(txn, function, &format!("tenantry creation of {schema}"), LIMIT).await? {
        true => Ok(()),
        false => Err(Error::Busy { schema: schema.to_string() }),
    }
}
