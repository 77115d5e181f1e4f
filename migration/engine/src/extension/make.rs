use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};

use super::{
    Extension, ExtensionError,
    confirm::{confirm_extensions, look},
};
use crate::{DynMigrator, Error, provision::execute_batch};

/// Kept while extensions are installed: two programs that do so at once get errors otherwise.
const LOCK: &str = "tenantry extensions";

/// Installs the extensions of `migrator` that are not there, each in its schema, and makes the
/// schemas. All of it in one transaction. Part of setting the registry up: call it beside the run
/// on [`Target::Registry`](crate::Target::Registry).
///
/// # Errors
/// [`Error::Extension`] when one is installed in another schema, cannot be installed, or shares its
/// schema with tables; [`Error::Database`].
pub async fn make_extensions(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<(), Error> {
    if migrator.extensions().is_empty() {
        return Ok(());
    }
    let txn = db.begin().await?;
    let lock = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        [LOCK.into()],
    );
    txn.execute_raw(lock).await?;
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

/// The statements that [`make_extensions`] would send.
///
/// # Errors
/// As for [`make_extensions`], but for what only the statements can run into.
pub async fn extension_sql(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<String>, Error> {
    Ok(missing(db, migrator).await?.into_iter().flat_map(|(_, sql)| sql).collect())
}

/// The extensions that are not installed, and the statements for each. A schema that exists is not
/// to be made: PostgreSQL refuses `IF NOT EXISTS` without the privilege to make one.
async fn missing(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Vec<(Extension, Vec<String>)>, Error> {
    let mut missing = Vec::new();
    let mut made: Vec<String> = Vec::new();
    for (extension, found) in look(db, migrator).await? {
        if found.is_some() {
            continue;
        }
        let mut sql = Vec::new();
        let schema = extension.schema();
        if !made.iter().any(|it| it == schema) && !schema_exists(db, schema).await? {
            sql.push(format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\""));
            made.push(schema.to_owned());
        }
        sql.push(extension.create_sql());
        missing.push((extension, sql));
    }
    Ok(missing)
}

async fn schema_exists(db: &impl ConnectionTrait, schema: &str) -> Result<bool, Error> {
    let exists = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1",
        [schema.into()],
    );
    Ok(db.query_one_raw(exists).await?.is_some())
}
