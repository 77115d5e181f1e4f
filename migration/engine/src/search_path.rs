//! The schema that migrations run in, and `search_path`, which leads to it.

use std::fmt;

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::MigratorTraitSelf;
use tenantry_registry::{SCHEMA, SchemaName};

use crate::{
    DynMigrator, Error,
    session::{limit_idle_time_sql, notice_lost_client},
    sql::{
        query::{execute, scalar},
        quoted,
    },
};

/// The schema that a migration run changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The schema of the registry.
    Registry,
    /// The schema of the tables that exist once, see
    /// [`TenantMigrator::shared`](crate::TenantMigrator::shared).
    Shared(SchemaName),
    /// A schema with the tables of a tenant.
    Schema(SchemaName),
}

impl Target {
    /// Name of the schema, without quotes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Registry => SCHEMA,
            Self::Shared(schema) | Self::Schema(schema) => schema.as_str(),
        }
    }

    /// Name of the schema as a quoted identifier.
    #[must_use]
    pub fn quoted(&self) -> String {
        match self {
            Self::Registry => format!("\"{SCHEMA}\""),
            Self::Shared(schema) | Self::Schema(schema) => schema.quoted(),
        }
    }

    /// The migrations table of the schema, qualified and quoted.
    pub(crate) fn migrations_table(&self, migrator: &DynMigrator) -> String {
        let table = migrator.migration_table_name().to_string();
        format!("{}.{}", self.quoted(), quoted(&table))
    }

    /// The `search_path` under which migrations run: the schema, the schemas of extensions, and
    /// last, where they hide nothing, temporary tables.
    pub(crate) fn search_path(&self, migrator: &DynMigrator) -> String {
        format!("{}{},pg_temp", self.quoted(), migrator.extension_path())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sets `search_path` to that of `target` until the transaction ends, and returns the previous one.
///
/// # Errors
/// [`Error::MissingSchema`], [`Error::MissingShared`] or [`Error::MissingRegistry`] if the schema
/// does not exist.
pub(crate) async fn set_search_path(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<String, Error> {
    let sql = format!(
        "SELECT current_setting('search_path'), {}, {}, set_config('search_path', $1, true)",
        limit_idle_time_sql(),
        notice_lost_client(true)
    );
    let before = scalar(txn, sql, [target.search_path(migrator).into()]).await?;
    ensure_schema_exists(txn, target).await?;
    Ok(before.unwrap_or_default())
}

/// Sets `search_path` to what [`set_search_path`] returned.
pub(crate) async fn restore_search_path(
    txn: &impl ConnectionTrait,
    path: &str,
) -> Result<(), DbErr> {
    execute(txn, "SELECT set_config('search_path', $1, true)", [path.into()]).await
}

/// Returns an error if the schema that `search_path` was set to does not exist. Not combined with a
/// query of a table: a distributed engine sends such a query to the node of that table, where
/// `search_path` differs.
pub(crate) async fn ensure_schema_exists(
    txn: &impl ConnectionTrait,
    target: &Target,
) -> Result<(), Error> {
    let current: Option<String> = scalar(txn, "SELECT current_schema()::text", []).await?;
    ensure_current_schema(target, current.as_deref())
}

/// Returns an error if `current_schema()` is not the target: then the target does not exist.
pub(crate) fn ensure_current_schema(target: &Target, current: Option<&str>) -> Result<(), Error> {
    match target {
        _ if current == Some(target.name()) => Ok(()),
        Target::Registry => Err(Error::MissingRegistry),
        Target::Shared(schema) => Err(Error::MissingShared { schema: schema.to_string() }),
        Target::Schema(schema) => Err(Error::MissingSchema { schema: schema.to_string() }),
    }
}
