//! The tables and sequences of a tenant's schema that have data.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, TryGetable, Value};
use serde::{Deserialize, Serialize};
use tenantry_registry::SchemaName;

/// A table with the columns that are copied: all but the generated ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Whether its rows are in partitions, which are copied through the table.
    #[serde(skip)]
    partitioned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) name: String,
    /// As PostgreSQL writes it, where types of the tenant's schema have no qualifier.
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A sequence, also that of an identity column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    pub(super) name: String,
    pub(super) last_value: i64,
    pub(super) is_called: bool,
}

/// Everything in a schema that has data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) tables: Vec<Table>,
    pub(super) sequences: Vec<String>,
}

impl Table {
    #[cfg(test)]
    pub(super) fn plain(name: &str, columns: Vec<Column>) -> Self {
        Self { name: name.to_owned(), columns, partitioned: false }
    }

    /// `COPY … TO STDOUT`.
    pub(super) fn copy_out(&self, schema: &SchemaName) -> String {
        let (name, columns) = (qualified(schema, &self.name), self.column_list());
        match (self.partitioned, columns.is_empty()) {
            (true, _) => format!("COPY (SELECT {columns} FROM {name}) TO STDOUT"),
            (false, true) => format!("COPY {name} TO STDOUT"),
            (false, false) => format!("COPY {name} ({columns}) TO STDOUT"),
        }
    }

    /// `COPY … FROM STDIN`.
    pub(super) fn copy_in(&self, schema: &SchemaName) -> String {
        let (name, columns) = (qualified(schema, &self.name), self.column_list());
        match columns.is_empty() {
            true => format!("COPY {name} FROM STDIN"),
            false => format!("COPY {name} ({columns}) FROM STDIN"),
        }
    }

    fn column_list(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|it| quoted(&it.name)).collect();
        columns.join(", ")
    }
}

impl Contents {
    /// Those of a schema that is first in `search_path`, except for the migrations table. The
    /// sequences are in the order of their names.
    pub(super) async fn of(
        db: &impl ConnectionTrait,
        schema: &SchemaName,
        migrations_table: &str,
    ) -> Result<Self, DbErr> {
        let values = || [schema.as_str().into(), migrations_table.into()];
        let mut tables: Vec<Table> = Vec::new();
        for row in rows(db, COLUMNS, values()).await? {
            let name: String = row.try_get_by_index(0)?;
            if tables.last().is_none_or(|table| table.name != name) {
                let partitioned = row.try_get_by_index(1)?;
                tables.push(Table { name, columns: Vec::new(), partitioned });
            }
            let column = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            if let ((Some(name), Some(kind)), Some(table)) = (column, tables.last_mut()) {
                table.columns.push(Column { name, kind });
            }
        }
        let sequences = column(db, SEQUENCES, [schema.as_str().into()]).await?;
        Ok(Self { tables, sequences })
    }

    /// Whether they have these tables and no others, whatever their columns.
    pub(super) fn has_tables_of(&self, tables: &[Table]) -> bool {
        self.tables.iter().map(|table| &table.name).eq(tables.iter().map(|table| &table.name))
    }

    /// What an export has and the schema lacks, and the reverse; empty if they agree. The order of
    /// columns does not matter.
    pub(super) fn differences(&self, exported: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let [here, there] = [self, exported].map(Self::by_name);
        for (name, columns) in &there {
            let Some(own) = here.get(name) else {
                found.push(format!("the migrations create no {name}"));
                continue;
            };
            for (column, kind) in columns {
                match own.get(column) {
                    Some(own) if own == kind => {}
                    Some(own) => found.push(format!(
                        "column {column:?} of {name} has type {kind} in the tenant and {own} in the \
                         migrations"
                    )),
                    None => found.push(format!("the migrations create no column {column:?} of {name}")),
                }
            }
            let missing = own.keys().filter(|column| !columns.contains_key(*column));
            found.extend(
                missing.map(|column| format!("the tenant has no column {column:?} of {name}")),
            );
        }
        let missing = here.keys().filter(|name| !there.contains_key(*name));
        found.extend(missing.map(|name| format!("the tenant has no {name}")));
        found
    }

    /// Tables with their columns and types, and sequences.
    fn by_name(&self) -> BTreeMap<String, BTreeMap<&str, &str>> {
        let tables = self.tables.iter().map(|table| {
            let columns = table.columns.iter();
            let columns = columns.map(|it| (it.name.as_str(), it.kind.as_str())).collect();
            (format!("table {:?}", table.name), columns)
        });
        let sequences = self.sequences.iter();
        let sequences = sequences.map(|name| (format!("sequence {name:?}"), BTreeMap::new()));
        tables.chain(sequences).collect()
    }
}

const COLUMNS: &str = "\
SELECT c.relname::text, c.relkind = 'p', a.attname::text, format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a
    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> $2
ORDER BY c.relname, a.attnum";

const SEQUENCES: &str = "\
SELECT c.relname::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'S' ORDER BY c.relname";

/// Pairs of a table and one that it refers to. Keys of partitions count for their table.
pub(super) async fn references(
    db: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<Vec<(String, String)>, DbErr> {
    let sql = "\
SELECT DISTINCT c.relname::text, r.relname::text FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_partition_root(k.confrelid), k.confrelid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND k.contype = 'f' AND r.relnamespace = c.relnamespace ORDER BY 1, 2";
    let found = rows(db, sql, [schema.as_str().into()]).await?;
    found.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// The values of these sequences. Values that were taken before the snapshot are included.
pub(super) async fn sequence_values(
    db: &impl ConnectionTrait,
    schema: &SchemaName,
    names: &[String],
) -> Result<Vec<Sequence>, DbErr> {
    let mut found = Vec::new();
    for name in names {
        let sql = format!("SELECT last_value, is_called FROM {}", qualified(schema, name));
        for row in rows(db, sql, []).await? {
            let (last_value, is_called) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            found.push(Sequence { name: name.clone(), last_value, is_called });
        }
    }
    Ok(found)
}

/// A name as a quoted identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn qualified(schema: &SchemaName, name: &str) -> String {
    format!("{}.{}", schema.quoted(), quoted(name))
}

pub(super) async fn rows(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await
}

/// The first column of every row.
pub(super) async fn column<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, DbErr> {
    rows(db, sql, values).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, columns: &[(&str, &str)]) -> Table {
        let columns = columns
            .iter()
            .map(|(name, kind)| Column { name: (*name).to_owned(), kind: (*kind).to_owned() });
        Table::plain(name, columns.collect())
    }

    #[test]
    fn differences_name_both_sides() {
        let contents = |tables: Vec<Table>, sequence: &str| Contents {
            tables,
            sequences: vec![sequence.to_owned()],
        };
        let exported =
            contents(vec![table("a", &[("x", "integer"), ("y", "text")]), table("b", &[])], "s");
        let same =
            contents(vec![table("b", &[]), table("a", &[("y", "text"), ("x", "integer")])], "s");
        assert_eq!(same.differences(&exported), Vec::<String>::new());
        let other = contents(vec![table("a", &[("x", "bigint"), ("z", "text")])], "t");
        assert_eq!(
            other.differences(&exported),
            [
                "the migrations create no sequence \"s\"",
                "column \"x\" of table \"a\" has type integer in the tenant and bigint in the \
                 migrations",
                "the migrations create no column \"y\" of table \"a\"",
                "the tenant has no column \"z\" of table \"a\"",
                "the migrations create no table \"b\"",
                "the tenant has no sequence \"t\"",
            ]
        );
    }

    #[test]
    fn names_are_quoted() {
        let schema: SchemaName = "tenant_1".parse().unwrap();
        let mut odd = table("a \"b\"", &[("x;y", "text")]);
        assert_eq!(odd.copy_out(&schema), r#"COPY "tenant_1"."a ""b""" ("x;y") TO STDOUT"#);
        assert_eq!(odd.copy_in(&schema), r#"COPY "tenant_1"."a ""b""" ("x;y") FROM STDIN"#);
        odd.partitioned = true;
        let through_parent = r#"COPY (SELECT "x;y" FROM "tenant_1"."a ""b""") TO STDOUT"#;
        assert_eq!(odd.copy_out(&schema), through_parent);
    }
}
