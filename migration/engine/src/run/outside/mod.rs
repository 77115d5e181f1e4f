//! What a transaction of migrations has made outside the schema that is migrated.
//!
//! Whatever made it – a qualified name, a `DO` block, dynamic SQL, another `search_path` – it is in
//! the catalog, in rows that this transaction has written. Relations that the transaction has made
//! or changed are locked by it, so they need not be searched for. Of the other catalogs only those
//! are searched to which the transaction has written, which PostgreSQL counts: with ten thousand
//! tenants a catalog is large.

mod catalogs;
mod later;

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde::Deserialize;

use catalogs::CATALOGS;
pub(crate) use catalogs::{command_sql, look_sql};
pub(crate) use later::Before;

/// What [`look_sql`] sees: whether there may be anything outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Look {
    /// Whether PostgreSQL counts (`track_counts`).
    counting: bool,
    /// How many rows the session has written to each catalog, in transactions that ended a moment
    /// ago, too.
    written: Vec<i64>,
    /// How many relations the transaction has made that have a row type.
    types: i64,
    /// Whether it has made or changed relations outside.
    relations: bool,
}

impl Look {
    pub(crate) fn read(json: &str) -> Result<Self, DbErr> {
        serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))
    }

    /// The catalogs that may have got something outside since `before`.
    fn suspects(&self, before: &Self) -> Vec<usize> {
        // A relation brings two types, its row type and that of arrays of it.
        let explained = |catalog: &str| match catalog {
            "pg_type" => 2 * (self.types - before.types),
            _ => 0,
        };
        let changed = |index: &usize| {
            let count = |look: &Self| look.written.get(*index).copied().unwrap_or_default();
            count(self) - count(before) != explained(CATALOGS[*index].name)
        };
        (0..CATALOGS.len()).filter(|index| !self.counting || changed(index)).collect()
    }
}

/// The objects outside `schemas` (a JSON array) that the transaction has made from a command on,
/// with their kind and their schema. `before` was seen when it was last asked, or begun.
pub(crate) async fn made(
    txn: &impl ConnectionTrait,
    (schemas, command): (&str, i64),
    before: &Look,
    now: &Look,
) -> Result<BTreeSet<String>, DbErr> {
    let suspects = now.suspects(before);
    if suspects.is_empty() && !now.relations {
        return Ok(BTreeSet::new());
    }
    // Compiling the query would take longer than carrying it out.
    let setting = |sql: &str, value: &str| {
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [value.into()])
    };
    let jit = setting("SELECT current_setting('jit') WHERE $1 <> ''", "jit");
    let jit = txn.query_one_raw(jit).await?.map(|row| row.try_get_by_index::<String>(0));
    let set = "SELECT set_config('jit', $1, true)";
    txn.query_one_raw(setting(set, "off")).await?;
    let names = Statement::from_sql_and_values(
        DbBackend::Postgres,
        catalogs::made_sql(&suspects),
        [schemas.into(), command.into()],
    );
    let names = txn.query_all_raw(names).await?;
    if let Some(jit) = jit.transpose()? {
        txn.query_one_raw(setting(set, &jit)).await?;
    }
    names.iter().map(|row| row.try_get_by_index(0)).collect()
}
