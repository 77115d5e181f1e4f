use entity::registry::SchemaName;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, sqlx::error::DatabaseError};
use sea_orm_migration::MigratorTraitSelf;

use crate::{AnyMigrator, Error, Target, enter, leave, run::record_version};

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
    create_schema(txn, schema).await?;
    let target = Target::Schema(schema.clone());
    let before = enter(txn, &target).await?;
    migrator
        .up(txn, None)
        .await
        .map_err(|source| Error::Migration { schema: schema.to_string(), source })?;
    leave(txn, &target, &before).await?;
    record_version(txn, &target, migrator.latest()).await
}

/// A statement of its own: an extension may react to it (Citus places the schema on a node).
async fn create_schema(txn: &DatabaseTransaction, schema: &SchemaName) -> Result<(), Error> {
    let sql = format!("CREATE SCHEMA {}", schema.quoted());
    match ddl(txn, &sql).await {
        Ok(()) => Ok(()),
        Err(error) if is_duplicate_schema(&error) => {
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

/// SQLSTATE 42P06 `duplicate_schema`, or 23505 when another transaction creates the same schema
/// at the same moment and the catalog's unique index is what stops us.
fn is_duplicate_schema(error: &DbErr) -> bool {
    let (DbErr::Exec(sea_orm::RuntimeErr::SqlxError(error))
    | DbErr::Query(sea_orm::RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .is_some_and(|code| code == "42P06" || code == "23505")
}
