use std::fmt;

use entity::registry::{SCHEMA, SchemaName};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Values};

use crate::Error;

/// What a migration run works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The schema of the registry.
    Registry,
    /// A schema with the tables of a tenant.
    Schema(SchemaName),
}

impl Target {
    /// Name of the schema, without quotes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Registry => SCHEMA,
            Self::Schema(schema) => schema.as_str(),
        }
    }

    /// Name of the schema as a quoted identifier.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.name())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sets `search_path` to exactly the schema of `target` until the transaction ends, and returns
/// what it was, for [`leave`].
///
/// # Errors
/// [`Error::MissingSchema`] when the schema does not exist, [`Error::Database`] otherwise.
pub async fn enter(txn: &DatabaseTransaction, target: &Target) -> Result<String, Error> {
    let before = text(txn, "SELECT current_setting('search_path')", []).await?;
    set_search_path(txn, &target.quoted()).await?;
    match current_schema(txn).await? {
        Some(found) if found == target.name() => Ok(before.unwrap_or_default()),
        // `current_schema()` is null when no schema of the path exists.
        _ => Err(Error::MissingSchema { schema: target.name().to_owned() }),
    }
}

/// Checks that the migrations stayed in `target` and puts `search_path` back to `before`.
///
/// # Errors
/// [`Error::ScopeLost`] when a migration moved `search_path`, [`Error::Database`] otherwise.
pub async fn leave(txn: &DatabaseTransaction, target: &Target, before: &str) -> Result<(), Error> {
    let found = current_schema(txn).await?;
    if found.as_deref() != Some(target.name()) {
        return Err(Error::ScopeLost { schema: target.name().to_owned(), found });
    }
    set_search_path(txn, before).await?;
    Ok(())
}

async fn set_search_path(txn: &DatabaseTransaction, path: &str) -> Result<(), DbErr> {
    text(txn, "SELECT set_config('search_path', $1, true)", [path.into()]).await?;
    Ok(())
}

async fn current_schema(txn: &DatabaseTransaction) -> Result<Option<String>, DbErr> {
    text(txn, "SELECT current_schema()::text", []).await
}

/// The first column of the first row, as text.
async fn text<const N: usize>(
    txn: &DatabaseTransaction,
    sql: &str,
    values: [sea_orm::Value; N],
) -> Result<Option<String>, DbErr> {
    let statement = Statement {
        sql: sql.into(),
        values: Some(Values(values.to_vec())),
        db_backend: DbBackend::Postgres,
    };
    match txn.query_one_raw(statement).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(None),
    }
}
