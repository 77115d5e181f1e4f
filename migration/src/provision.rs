use entity::registry::SchemaName;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTraitSelf;

use crate::{
    Action, AnyMigrator, Error, Fault, State, Target,
    claim::{PROVISIONING, record_version},
    enter, leave,
    plan::plan,
    together::run_together,
};

/// Makes the schema of one tenant in the caller's transaction: creates the schema, replays every
/// migration in it, and records the version in the tenant's registry row (if it has one).
///
/// Nothing is visible to anybody before the caller commits, and nothing is left if it does not.
///
/// # Errors
/// [`Error::SchemaExists`] when there is a schema of this name, [`Error::Migration`] when a
/// migration fails. The caller's transaction is aborted then and can only be rolled back.
pub async fn provision(
    txn: &DatabaseTransaction,
    schema: &SchemaName,
    migrator: &AnyMigrator,
) -> Result<(), Error> {
    // A fleet run that looks who is behind waits until this tenant is there or is not.
    let provisioning = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))",
        [PROVISIONING.into()],
    );
    txn.execute_raw(provisioning).await?;
    create_schema(txn, schema).await?;
    let target = Target::Schema(schema.clone());
    let before = enter(txn, &target).await?;
    migrator.install(txn).await?;
    for step in plan(migrator, &State::default(), &Action::Fresh)? {
        run_together(txn, &target, migrator, &step).await?;
    }
    leave(txn, &before).await?;
    let state = State { applied: migrator.names(), pending: Vec::new() };
    record_version(txn, &target, &state, migrator).await
}

/// A statement of its own: an extension may react to it (Citus places the schema on a node).
async fn create_schema(txn: &DatabaseTransaction, schema: &SchemaName) -> Result<(), Error> {
    let sql = format!("CREATE SCHEMA {}", schema.quoted());
    match ddl(txn, &sql).await {
        Ok(()) => Ok(()),
        Err(error) if Fault::of(&error) == Fault::DuplicateSchema => {
            Err(Error::SchemaExists { schema: schema.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Drops the schema of one tenant, with everything in it, in the caller's transaction. One that is
/// not there is dropped already.
///
/// # Errors
/// [`Error::Database`].
pub async fn drop_schema(txn: &DatabaseTransaction, schema: &SchemaName) -> Result<(), Error> {
    let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", schema.quoted());
    Ok(ddl(txn, &sql).await?)
}

/// Sends a statement that can have no parameters.
#[expect(clippy::disallowed_methods, reason = "every identifier comes from a SchemaName")]
pub(crate) async fn ddl(txn: &DatabaseTransaction, sql: &str) -> Result<(), DbErr> {
    txn.execute_unprepared(sql).await?;
    Ok(())
}
