//! Installation of extensions.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};

use super::{
    Extension, ExtensionError,
    confirm::{confirm_extensions, find_installed},
};
use crate::{
    DynMigrator, Error,
    citus::keep_local,
    sql::query::{execute, execute_batch, scalar},
};

/// Advisory lock of an installation: concurrent installations of an extension fail.
const LOCK: &str = "tenantry extensions";

/// Installs the missing extensions of `migrator` and creates their schemas, in one transaction. Part
/// of the setup of the registry: call it with the run on
/// [`Target::Registry`](crate::Target::Registry).
///
/// # Errors
/// [`Error::Extension`] if one is installed in another schema, cannot be installed, or shares its
/// schema with tables; [`Error::Database`].
pub async fn make_extensions(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<(), Error> {
    if migrator.extensions().is_empty() {
        return Ok(());
    }
    let txn = db.begin().await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    execute(&txn, lock, [LOCK.into()]).await?;
    // Extensions exist once: their schemas are not placed on a node.
    keep_local(&txn).await?;
    for (extension, sql) in missing(&txn, migrator).await? {
        for sql in sql {
            let made = execute_batch(&txn, &sql).await;
            let extension = extension.clone();
            made.map_err(|source| ExtensionError::NotMade { extension, source })?;
        }
    }
    confirm_extensions(&txn, migrator).await?;
    Ok(txn.commit().await?)
}

/// Returns the statements that [`make_extensions`] would send.
///
/// # Errors
/// As for [`make_extensions`], except errors of the statements.
pub async fn extension_sql(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<String>, Error> {
    Ok(missing(db, migrator).await?.into_iter().flat_map(|(_, sql)| sql).collect())
}

/// The missing extensions, and the statements for each. Without `CREATE SCHEMA` for an existing
/// schema: PostgreSQL requires the privilege for it even with `IF NOT EXISTS`.
async fn missing(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<(Extension, Vec<String>)>, Error> {
    let mut missing = Vec::new();
    let mut created: Vec<String> = Vec::new();
    for (extension, installed) in find_installed(db, migrator).await? {
        if installed.is_some() {
            continue;
        }
        let mut sql = Vec::new();
        let schema = extension.schema();
        if !created.iter().any(|it| it == schema) && !schema_exists(db, schema).await? {
            sql.push(format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\""));
            created.push(schema.to_owned());
        }
        sql.push(extension.create_sql());
        missing.push((extension, sql));
    }
    Ok(missing)
}

async fn schema_exists(db: &impl ConnectionTrait, schema: &str) -> Result<bool, DbErr> {
    let sql = "SELECT true FROM pg_catalog.pg_namespace WHERE nspname = $1";
    Ok(scalar::<bool>(db, sql, [schema.into()]).await?.is_some())
}
