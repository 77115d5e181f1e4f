use std::fmt;

use entity::registry::{SCHEMA, SchemaName};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Values};

use sea_orm_migration::MigratorTraitSelf;

use crate::{
    AnyMigrator, Error,
    session::{bound_idle_time, notice_lost_client},
};

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

    /// The table in which a migrator keeps what was applied, qualified and quoted.
    pub(crate) fn table(&self, migrator: &AnyMigrator) -> String {
        let table = migrator.migration_table_name().to_string().replace('"', "\"\"");
        format!("{}.\"{table}\"", self.quoted())
    }

    /// The `search_path` under which its migrations run.
    pub(crate) fn search_path(&self) -> String {
        format!("{},pg_temp", self.quoted())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sets `search_path` to exactly the schema of `target` until the transaction ends, and returns
/// what it was, for [`leave`]. (Temporary tables come last, where they hide nothing.)
///
/// # Errors
/// [`Error::MissingSchema`] or [`Error::MissingRegistry`] when the schema does not exist,
/// [`Error::Database`] otherwise.
pub async fn enter(txn: &DatabaseTransaction, target: &Target) -> Result<String, Error> {
    let before = search_path(txn).await?;
    guard(txn).await?;
    set_search_path(txn, &target.search_path()).await?;
    confirm(target, text(txn, "SELECT current_schema()::text", []).await?.as_deref())?;
    Ok(before)
}

/// Bounds how long the transaction outlives its program, and a pause of it.
pub(crate) async fn guard(txn: &DatabaseTransaction) -> Result<(), DbErr> {
    let sql = format!("SELECT {}, {}", bound_idle_time(), notice_lost_client(true));
    txn.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    Ok(())
}

/// Refuses when `current_schema()` is another: the first schema of the path is missing then.
pub(crate) fn confirm(target: &Target, current_schema: Option<&str>) -> Result<(), Error> {
    match target {
        _ if current_schema == Some(target.name()) => Ok(()),
        Target::Registry => Err(Error::MissingRegistry),
        Target::Schema(schema) => Err(Error::MissingSchema { schema: schema.to_string() }),
    }
}

/// Puts `search_path` back to what it was before [`enter`].
///
/// # Errors
/// [`Error::Database`].
pub async fn leave(txn: &DatabaseTransaction, before: &str) -> Result<(), Error> {
    set_search_path(txn, before).await?;
    Ok(())
}

/// Refuses when a migration has changed `search_path`: what follows would run elsewhere.
pub(crate) async fn check(
    txn: &DatabaseTransaction,
    target: &Target,
    migration: &str,
) -> Result<(), Error> {
    let found = search_path(txn).await?;
    if found == target.search_path() {
        return Ok(());
    }
    let schema = target.name().to_owned();
    Err(Error::ScopeLost { schema, migration: migration.to_owned(), found })
}

/// [`check`] as a statement that fails, by dividing by zero.
pub(crate) fn stay_in(target: &Target) -> String {
    let path = target.search_path();
    format!("SELECT 1 / (current_setting('search_path') = '{path}')::int;\n")
}

async fn search_path(txn: &DatabaseTransaction) -> Result<String, DbErr> {
    Ok(text(txn, "SELECT current_setting('search_path')", []).await?.unwrap_or_default())
}

async fn set_search_path(txn: &DatabaseTransaction, path: &str) -> Result<(), DbErr> {
    text(txn, "SELECT set_config('search_path', $1, true)", [path.into()]).await?;
    Ok(())
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
