//! Objects that migrations create outside the schema that is migrated.
//!
//! However they were created (a qualified name, a `DO` block, dynamic SQL, another `search_path`),
//! they have catalog rows that this transaction has written. The transaction holds locks on the
//! relations that it created or changed, so they need no search. Of the other catalogs, only those
//! are searched to which the transaction has written according to PostgreSQL's counters: with ten
//! thousand tenants, a catalog is large.

mod catalogs;
mod later;

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};
use serde::Deserialize;

use crate::sql::query::{column, execute, scalar};
use catalogs::CATALOGS;
pub(crate) use catalogs::{newest_command_sql, snapshot_sql};
pub(crate) use later::StartOfMigration;

/// Result of [`snapshot_sql`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Snapshot {
    /// Whether PostgreSQL counts written rows (`track_counts`).
    counting: bool,
    /// Rows that the session has written to each catalog, including recent transactions.
    written: Vec<i64>,
    /// Relations with a row type that the transaction has created.
    types: i64,
    /// Whether the transaction has created or changed relations outside.
    relations: bool,
}

impl Snapshot {
    pub(crate) fn parse(json: &str) -> Result<Self, DbErr> {
        serde_json::from_str(json).map_err(|error| DbErr::Json(error.to_string()))
    }

    /// The catalogs that may have new rows for objects outside since `before`.
    fn suspects(&self, before: &Self) -> Vec<usize> {
        // A relation has two types: its row type, and the array of it.
        let explained = |catalog: &str| match catalog {
            "pg_type" => 2 * (self.types - before.types),
            _ => 0,
        };
        let changed = |index: &usize| {
            let count = |it: &Self| it.written.get(*index).copied().unwrap_or_default();
            count(self) - count(before) != explained(CATALOGS[*index].name)
        };
        (0..CATALOGS.len()).filter(|index| !self.counting || changed(index)).collect()
    }
}

/// The objects outside `schemas` (a JSON array) that the transaction has created since a command,
/// with their kind and their schema.
pub(crate) async fn created_outside(
    txn: &impl ConnectionTrait,
    (schemas, command): (&str, i64),
    before: &Snapshot,
    now: &Snapshot,
) -> Result<BTreeSet<String>, DbErr> {
    let suspects = now.suspects(before);
    if suspects.is_empty() && !now.relations {
        return Ok(BTreeSet::new());
    }
    // Compiling the query would take longer than executing it.
    const SET_JIT: &str = "SELECT set_config('jit', $1, true)";
    let jit: Option<String> = scalar(txn, "SELECT current_setting('jit')", []).await?;
    execute(txn, SET_JIT, ["off".into()]).await?;
    let values = [schemas.into(), command.into()];
    let names = column(txn, catalogs::created_sql(&suspects), values).await?;
    if let Some(jit) = jit {
        execute(txn, SET_JIT, [jit.into()]).await?;
    }
    Ok(names.into_iter().collect())
}
