use std::collections::BTreeSet;

use sea_orm::{DatabaseTransaction, DbErr};
use serde::Deserialize;
use tenantry_registry::SchemaName;

use crate::sql::query::scalar;

/// The catalog of the scratch schema at one time.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Snapshot {
    pub(super) search_path: String,
    /// Whether scans are counted (`track_counts`).
    pub(super) track_counts: bool,
    pub(super) relations: Vec<Relation>,
    pub(super) columns: Vec<Column>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) triggers: BTreeSet<String>,
    /// Enum, domain, range and composite types.
    pub(super) types: BTreeSet<String>,
    /// Dependencies on objects outside the schema, as sentences.
    pub(super) external_dependencies: BTreeSet<String>,
    /// Foreign keys to tables that exist once.
    pub(super) shared_keys: BTreeSet<SharedKey>,
    /// Relations outside the schema that the transaction has used.
    pub(super) external_relations: BTreeSet<String>,
}

/// A table, view, sequence or index.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Relation {
    pub(super) oid: i64,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The table of an index.
    pub(super) table: Option<i64>,
    /// `pg_class.relfilenode`, which a rewrite changes.
    pub(super) relfilenode: i64,
    /// Number of scans in this transaction.
    pub(super) seq_scans: i64,
    pub(super) partition: bool,
    /// Whether it has a primary key.
    pub(super) has_primary_key: bool,
    pub(super) inherits: bool,
}

/// `pg_class.relkind`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "r", alias = "p", alias = "f")]
    Table,
    #[serde(rename = "v", alias = "m")]
    View,
    #[serde(rename = "S")]
    Sequence,
    #[serde(rename = "i", alias = "I")]
    Index,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Column {
    pub(super) table: i64,
    pub(super) number: i16,
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    pub(super) generated: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Constraint {
    pub(super) oid: i64,
    pub(super) table: i64,
    pub(super) name: String,
    /// `pg_constraint.contype`
    pub(super) kind: char,
    pub(super) validated: bool,
    pub(super) deferrable: bool,
    /// Its index; for a foreign key, the index of the referenced table.
    pub(super) index: i64,
    #[serde(default)]
    pub(super) columns: Option<Vec<i16>>,
}

/// Foreign key to a table that exists once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct SharedKey {
    pub(super) name: String,
    pub(super) table: String,
    /// The table that it refers to, with its schema.
    pub(super) to: String,
}

impl Snapshot {
    /// Reads the catalog for `schema`. `second` is the second schema of the same check, `shared` that
    /// of the tables that exist once.
    pub(super) async fn take(
        txn: &DatabaseTransaction,
        schema: &SchemaName,
        second: &SchemaName,
        shared: Option<&SchemaName>,
    ) -> Result<Self, DbErr> {
        let shared = shared.map_or("", SchemaName::as_str);
        let values = [schema.as_str().into(), second.as_str().into(), shared.into()];
        let json: Option<String> =
            scalar(txn, include_str!("catalog_snapshot.sql"), values).await?;
        let json = json.unwrap_or_default();
        serde_json::from_str(&json).map_err(|error| DbErr::Json(error.to_string()))
    }

    pub(super) fn relation(&self, oid: i64) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|relation| relation.kind == Kind::Table)
    }

    pub(super) fn indexes(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|relation| relation.kind == Kind::Index)
    }

    pub(super) fn columns_of(&self, table: i64) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |column| column.table == table)
    }

    pub(super) fn column(&self, table: i64, number: i16) -> Option<&Column> {
        self.columns_of(table).find(|column| column.number == number)
    }

    pub(super) fn constraint(&self, oid: i64) -> Option<&Constraint> {
        self.constraints.iter().find(|constraint| constraint.oid == oid)
    }

    /// The same constraint as `other`, by name if it was recreated by a change of a column's type.
    pub(super) fn same_constraint(&self, other: &Constraint) -> Option<&Constraint> {
        let same_name = |it: &&Constraint| it.table == other.table && it.name == other.name;
        self.constraint(other.oid).or_else(|| self.constraints.iter().find(same_name))
    }

    /// The same index as `other`, by name if it was recreated.
    pub(super) fn same_index(&self, other: &Relation) -> Option<&Relation> {
        self.relation(other.oid).or_else(|| self.indexes().find(|it| it.name == other.name))
    }

    /// The name of a table, for messages.
    pub(super) fn table_name(&self, oid: i64) -> &str {
        self.relation(oid).map_or("?", |relation| &relation.name)
    }
}
