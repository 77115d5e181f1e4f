//! Checks that migrations stay in their schema and in their transaction.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use super::outside::{Snapshot, created_outside, newest_command_sql, snapshot_sql};
use crate::{
    DynMigrator, Error, Target, citus::IS_CITUS, lint::Rule, plan::Step,
    search_path::ensure_current_schema, sql::query::rows,
};

/// Guards a transaction in which the migrations of one schema run.
///
/// After each migration, the transaction and `search_path` must be the same, and nothing may have
/// been created outside the schema.
#[derive(Debug)]
pub(crate) struct SchemaGuard<'a> {
    pub(crate) target: &'a Target,
    /// Whether the database is a Citus cluster.
    pub(crate) citus: bool,
    path: String,
    transaction: String,
    /// Schemas in which objects may be created, as a JSON array.
    own: String,
    /// Number of the command in the transaction after which created objects count.
    command: i64,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    snapshot: Snapshot,
    /// Objects outside that an earlier check returned.
    known: BTreeSet<String>,
}

impl<'a> SchemaGuard<'a> {
    /// # Errors
    /// [`Error::MissingSchema`] or [`Error::MissingRegistry`] if the schema that `search_path` was
    /// set to does not exist.
    pub(crate) async fn begin(
        txn: &impl ConnectionTrait,
        target: &'a Target,
        migrator: &DynMigrator,
    ) -> Result<Self, Error> {
        Self::begin_with(txn, target, migrator, &[]).await
    }

    /// [`begin`](Self::begin), with more schemas in which objects may be created.
    pub(crate) async fn begin_with(
        txn: &impl ConnectionTrait,
        target: &'a Target,
        migrator: &DynMigrator,
        others: &[&str],
    ) -> Result<Self, Error> {
        let mut own = others.to_vec();
        own.push(target.name());
        let own = serde_json::Value::from(own).to_string();
        let sql = format!(
            "SELECT current_schema()::text, pg_current_xact_id()::text, {}, {}, {IS_CITUS}",
            snapshot_sql(),
            // Objects that the caller created before the schema do not count.
            newest_command_sql()
        );
        let row = one_row(txn, &sql, (&own, 0)).await?;
        ensure_current_schema(target, row.try_get_by_index::<Option<String>>(0)?.as_deref())?;
        let transaction = row.try_get_by_index(1)?;
        let snapshot = Snapshot::parse(&row.try_get_by_index::<String>(2)?)?;
        let (command, citus) = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        let path = target.search_path(migrator);
        let seen = Mutex::new(Seen { snapshot, known: BTreeSet::new() });
        Ok(Self { target, citus, path, transaction, own, command, seen })
    }

    /// # Errors
    /// [`Error::TransactionEnded`] if the transaction has ended, [`Error::CreatedOutside`] if an object
    /// was created outside the schema and the migration does not allow that, and
    /// [`Error::SearchPathChanged`].
    pub(crate) async fn check(&self, txn: &impl ConnectionTrait, step: &Step) -> Result<(), Error> {
        let (row, objects) = self.look(txn, step).await?;
        let (schema, migration) = (self.target.name().to_owned(), step.migration.name().to_owned());
        // Before search_path, which may be the reason.
        if !objects.is_empty() && !step.suppressions.allows(Rule::OutsideSchema) {
            return Err(Error::CreatedOutside { schema, migration, objects, rolled_back: true });
        }
        let found: String = row.try_get_by_index(1)?;
        if found != self.path {
            return Err(Error::SearchPathChanged { schema, migration, found });
        }
        ensure_current_schema(self.target, row.try_get_by_index::<Option<String>>(2)?.as_deref())
    }

    /// Returns the objects that were created outside the schema since the last call, allowed or not.
    ///
    /// # Errors
    /// [`Error::TransactionEnded`].
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
            snapshot_sql()
        );
        let row = one_row(txn, &sql, (&self.own, self.command)).await?;
        if row.try_get_by_index::<Option<String>>(0)?.as_ref() != Some(&self.transaction) {
            let schema = self.target.name().to_owned();
            let migration = step.migration.name().to_owned();
            return Err(Error::TransactionEnded { schema, migration });
        }
        let now = Snapshot::parse(&row.try_get_by_index::<String>(3)?)?;
        let before = self.seen().snapshot.clone();
        let mut objects = created_outside(txn, (&self.own, self.command), &before, &now).await?;
        let mut seen = self.seen();
        objects.retain(|object| !seen.known.contains(object));
        seen.known.extend(objects.iter().cloned());
        seen.snapshot = now;
        Ok((row, objects.into_iter().collect()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn one_row(
    txn: &impl ConnectionTrait,
    sql: &str,
    (schemas, command): (&str, i64),
) -> Result<QueryResult, DbErr> {
    let row = rows(txn, sql, [schemas.into(), command.into()]).await?.into_iter().next();
    row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))
}
