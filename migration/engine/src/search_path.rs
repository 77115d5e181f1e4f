use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Values};
use tenantry_registry::{SCHEMA, SchemaName};

use sea_orm_migration::MigratorTraitSelf;

use crate::{
    DynMigrator, Error,
    lint::Rule,
    plan::Step,
    run::outside::{Look, command_sql, look_sql, made},
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
    pub(crate) fn table(&self, migrator: &DynMigrator) -> String {
        let table = migrator.migration_table_name().to_string().replace('"', "\"\"");
        format!("{}.\"{table}\"", self.quoted())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sets `search_path` to the schema of `target`, and behind it those of the extensions of
/// `migrator`, until the transaction ends. Returns what it was, for [`leave`]. (Temporary tables
/// come last, where they hide nothing.)
///
/// # Errors
/// [`Error::MissingSchema`] or [`Error::MissingRegistry`] when the schema does not exist,
/// [`Error::Database`] otherwise.
pub async fn enter(
    txn: &impl ConnectionTrait,
    target: &Target,
    migrator: &DynMigrator,
) -> Result<String, Error> {
    let before = search_path(txn).await?;
    guard(txn).await?;
    set_search_path(txn, &migrator.search_path(target)).await?;
    confirm_schema(txn, target).await?;
    Ok(before)
}

/// Bounds how long the transaction outlives its program, and a pause of it.
pub(crate) async fn guard(txn: &impl ConnectionTrait) -> Result<(), DbErr> {
    let sql = format!("SELECT {}, {}", bound_idle_time(), notice_lost_client(true));
    txn.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    Ok(())
}

/// Refuses when the schema that `search_path` was set to does not exist. In a statement of its own:
/// a distributed engine sends one that is also about a table to the node of that table, where the
/// path is another.
pub(crate) async fn confirm_schema(
    txn: &impl ConnectionTrait,
    target: &Target,
) -> Result<(), Error> {
    confirm(target, text(txn, "SELECT current_schema()::text", []).await?.as_deref())
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
pub async fn leave(txn: &impl ConnectionTrait, before: &str) -> Result<(), Error> {
    set_search_path(txn, before).await?;
    Ok(())
}

/// A transaction in which migrations of one schema run one after the other. Looked at before the
/// first and after each: what follows must be in the same transaction and in the same schema, and
/// nothing may have come to be outside.
#[derive(Debug)]
pub(crate) struct SchemaGuard<'a> {
    pub(crate) target: &'a Target,
    path: String,
    transaction: String,
    /// The schemas in which things may come to be, as a JSON array.
    own: String,
    /// The command of the transaction from which on it is watched.
    command: i64,
    seen: Mutex<Seen>,
}

/// What was there outside when it was last looked.
#[derive(Debug)]
struct Seen {
    look: Look,
    /// What is meant.
    known: BTreeSet<String>,
}

impl<'a> SchemaGuard<'a> {
    /// Refuses when the schema that `search_path` was set to does not exist.
    pub(crate) async fn begin(
        txn: &impl ConnectionTrait,
        target: &'a Target,
        migrator: &DynMigrator,
    ) -> Result<Self, Error> {
        Self::beside(txn, target, migrator, &[]).await
    }

    /// [`begin`](Self::begin) where things may come to be in some schemas more.
    pub(crate) async fn beside(
        txn: &impl ConnectionTrait,
        target: &'a Target,
        migrator: &DynMigrator,
        others: &[&str],
    ) -> Result<Self, Error> {
        let mut own = others.to_vec();
        own.push(target.name());
        let own = serde_json::Value::from(own).to_string();
        let sql = format!(
            "SELECT current_schema()::text, pg_current_xact_id()::text, {}, {}",
            look_sql(),
            // What a caller has made before the schema is its own affair.
            command_sql()
        );
        let row = row(txn, &sql, (&own, 0)).await?;
        confirm(target, row.try_get_by_index::<Option<String>>(0)?.as_deref())?;
        let transaction = row.try_get_by_index(1)?;
        let look = Look::read(&row.try_get_by_index::<String>(2)?)?;
        let command = row.try_get_by_index(3)?;
        let path = migrator.search_path(target);
        let seen = Mutex::new(Seen { look, known: BTreeSet::new() });
        Ok(Self { target, path, transaction, own, command, seen })
    }

    /// Refuses when the transaction has ended, by whatever means, when something outside the schema
    /// has come to be and the migration does not say that it means that, or when `search_path`
    /// leads elsewhere.
    pub(crate) async fn check(&self, txn: &impl ConnectionTrait, step: &Step) -> Result<(), Error> {
        let (row, objects) = self.look(txn, step).await?;
        let (schema, migration) = (self.target.name().to_owned(), step.migration.name().to_owned());
        // Told first, as the path may be how it came there.
        if !objects.is_empty() && !step.suppressions.allows(Rule::OutsideSchema) {
            return Err(Error::MadeOutside { schema, migration, objects, rolled_back: true });
        }
        let found: String = row.try_get_by_index(1)?;
        if found != self.path {
            return Err(Error::ScopeLost { schema, migration, found });
        }
        confirm(self.target, row.try_get_by_index::<Option<String>>(2)?.as_deref())
    }

    /// What has come to be outside the schema since it was last asked, meant or not. Refuses when
    /// the transaction has ended.
    pub(crate) async fn outside(
        &self,
        txn: &impl ConnectionTrait,
        step: &Step,
    ) -> Result<Vec<String>, Error> {
        Ok(self.look(txn, step).await?.1)
    }

    async fn look(
        &self,
        txn: &impl ConnectionTrait,
        step: &Step,
    ) -> Result<(QueryResult, Vec<String>), Error> {
        let sql = format!(
            "SELECT pg_current_xact_id_if_assigned()::text,
            current_setting('search_path'), current_schema()::text, {}",
            look_sql()
        );
        let row = row(txn, &sql, (&self.own, self.command)).await?;
        if row.try_get_by_index::<Option<String>>(0)?.as_ref() != Some(&self.transaction) {
            let schema = self.target.name().to_owned();
            let migration = step.migration.name().to_owned();
            return Err(Error::TransactionEnded { schema, migration });
        }
        let look = Look::read(&row.try_get_by_index::<String>(3)?)?;
        let objects = self.made(txn, look).await?;
        Ok((row, objects))
    }

    async fn made(&self, txn: &impl ConnectionTrait, now: Look) -> Result<Vec<String>, DbErr> {
        let before = self.seen().look.clone();
        let mut objects = made(txn, (&self.own, self.command), &before, &now).await?;
        let mut seen = self.seen();
        objects.retain(|object| !seen.known.contains(object));
        seen.known.extend(objects.iter().cloned());
        seen.look = now;
        Ok(objects.into_iter().collect())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That `search_path` still is this one, as a statement that fails by dividing by zero.
pub(crate) fn assert_search_path_sql(path: &str) -> String {
    format!("SELECT 1 / (current_setting('search_path') = '{path}')::int;\n")
}

async fn search_path(txn: &impl ConnectionTrait) -> Result<String, DbErr> {
    Ok(text(txn, "SELECT current_setting('search_path')", []).await?.unwrap_or_default())
}

async fn set_search_path(txn: &impl ConnectionTrait, path: &str) -> Result<(), DbErr> {
    text(txn, "SELECT set_config('search_path', $1, true)", [path.into()]).await?;
    Ok(())
}

/// The first column of the first row, as text.
async fn text<const N: usize>(
    txn: &impl ConnectionTrait,
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

async fn row(
    txn: &impl ConnectionTrait,
    sql: &str,
    (schemas, command): (&str, i64),
) -> Result<QueryResult, DbErr> {
    let values = [schemas.into(), command.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let row = txn.query_one_raw(statement).await?;
    row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))
}
