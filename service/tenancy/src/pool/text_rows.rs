//! Rows as texts, which the simple query protocol returns: which of them the driver reads as from the
//! binary form.

use std::fmt::Write;

use sea_orm::sqlx::{
    self, AssertSqlSafe, Column, PgConnection, Row, ValueRef,
    postgres::{PgColumn, PgRow},
    query::Query,
};

/// The types of a row's columns, by their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// The driver reads the same values from texts as from the binary form.
    Exact,
    /// There may be others.
    Inexact,
}

/// A type whose texts the driver reads, with its OID (`pg_type.dat`).
struct ExactType {
    oid: u32,
    name: &'static str,
}

/// Not among them: `bytea`, whose text the driver does not read as a slice; `numeric`, which it rounds;
/// `"char"`, `interval`, arrays, and types with an OID that differs between databases.
const EXACT: [ExactType; 17] = [
    ExactType { oid: 16, name: "bool" },
    ExactType { oid: 19, name: "name" },
    ExactType { oid: 20, name: "int8" },
    ExactType { oid: 21, name: "int2" },
    ExactType { oid: 23, name: "int4" },
    ExactType { oid: 25, name: "text" },
    ExactType { oid: 114, name: "json" },
    ExactType { oid: 700, name: "float4" },
    ExactType { oid: 701, name: "float8" },
    ExactType { oid: 1042, name: "bpchar" },
    ExactType { oid: 1043, name: "varchar" },
    ExactType { oid: DATE, name: "date" },
    ExactType { oid: TIME, name: "time" },
    ExactType { oid: TIMESTAMP, name: "timestamp" },
    ExactType { oid: TIMESTAMPTZ, name: "timestamptz" },
    ExactType { oid: 2950, name: "uuid" },
    ExactType { oid: 3802, name: "jsonb" },
];
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;

impl Columns {
    pub(super) fn of(row: &PgRow) -> Self {
        match row.columns().iter().all(|column| exact_type(column).is_some()) {
            true => Self::Exact,
            false => Self::Inexact,
        }
    }
}

fn exact_type(column: &PgColumn) -> Option<&'static ExactType> {
    let oid = column.type_info().oid()?.0;
    EXACT.iter().find(|exact| exact.oid == oid)
}

/// Whether the driver reads each value of a row. Of dates and times it does not understand the texts of
/// years after 9999 and before 1, of `infinity` and of `24:00:00`.
pub(super) fn is_exact(row: &PgRow) -> bool {
    row.columns().iter().enumerate().all(|(index, column)| {
        let Ok(value) = row.try_get_raw(index) else { return false };
        if value.is_null() {
            return true;
        }
        let Ok(text) = value.as_bytes() else { return false };
        match exact_type(column).map(|exact| exact.oid) {
            Some(TIME) => !text.starts_with(b"24"),
            Some(DATE | TIMESTAMP) => has_usual_year(text) && !text.ends_with(b"BC"),
            // In another time zone the offset would differ.
            Some(TIMESTAMPTZ) => has_usual_year(text) && text.ends_with(b"+00"),
            exact => exact.is_some(),
        }
    })
}

fn has_usual_year(text: &[u8]) -> bool {
    text.get(4) == Some(&b'-')
}

/// The same row in the binary form: the server reads the texts and returns the values. For rows of a
/// statement that has written, which cannot be sent again.
pub(super) async fn in_binary(
    row: &PgRow,
    connection: &mut PgConnection,
    is_kept: bool,
) -> Result<PgRow, sqlx::Error> {
    let mut sql = String::from("SELECT");
    let mut texts = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        let of = exact_type(column).map_or("text", |exact| exact.name);
        let value = row.try_get_raw(index)?;
        texts.push(match value.is_null() {
            true => None,
            false => Some(value.as_str().map_err(sqlx::Error::Decode)?.to_owned()),
        });
        let comma = if index > 0 { "," } else { "" };
        let name = column.name().replace('"', "\"\"");
        // Writing to a string does not fail.
        let _ = write!(sql, "{comma} (${}::text)::{of} AS \"{name}\"", index + 1);
    }
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(is_kept);
    texts.into_iter().fold(query, Query::bind).fetch_one(connection).await
}
