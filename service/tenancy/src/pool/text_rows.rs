//! Rows as texts, which the simple query protocol returns: which of them the driver reads as from the
//! binary form.

use sea_orm::sqlx::{
    Column, Row, ValueRef,
    postgres::{PgColumn, PgRow},
};

/// The types of a row's columns, by their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// The driver reads the same values from texts as from the binary form.
    Exact,
    /// There may be others.
    Inexact,
}

/// The OIDs of types whose texts the driver reads (`pg_type.dat`), besides those that have a name here:
/// `bool`, `name`, `int8`, `int2`, `int4`, `text`, `json`, `bpchar`, `varchar`, `uuid` and `jsonb`.
///
/// Not among them: `bytea`, whose text the driver does not read as a slice; `numeric`, which it rounds;
/// `"char"`, `interval`, arrays, and types with an OID that differs between databases.
const EXACT: [u32; 11] = [16, 19, 20, 21, 23, 25, 114, 1042, 1043, 2950, 3802];
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;

impl Columns {
    /// The types of this row, with floating-point numbers whose texts have all digits or not.
    pub(super) fn of(row: &PgRow, has_all_digits: bool) -> Self {
        let is_exact = |column: &PgColumn| match oid(column) {
            FLOAT4 | FLOAT8 => has_all_digits,
            DATE | TIME | TIMESTAMP | TIMESTAMPTZ => true,
            oid => EXACT.contains(&oid),
        };
        match row.columns().iter().all(is_exact) {
            true => Self::Exact,
            false => Self::Inexact,
        }
    }
}

fn oid(column: &PgColumn) -> u32 {
    column.type_info().oid().map_or(0, |oid| oid.0)
}

/// Whether the driver reads each value of a row of exact types. Of dates and times it does not
/// understand the texts of years after 9999 and before 1, of `infinity` and of `24:00:00`.
pub(super) fn is_exact(row: &PgRow) -> bool {
    row.columns().iter().enumerate().all(|(index, column)| {
        let Ok(value) = row.try_get_raw(index) else { return false };
        if value.is_null() {
            return true;
        }
        let Ok(text) = value.as_bytes() else { return false };
        match oid(column) {
            TIME => !text.starts_with(b"24"),
            DATE | TIMESTAMP => has_usual_year(text) && !text.ends_with(b"BC"),
            // In another time zone the offset would differ. Without a fraction the types of `time`
            // do not read it: the driver adds one after the offset.
            TIMESTAMPTZ => has_usual_year(text) && text.ends_with(b"+00") && text.contains(&b'.'),
            _ => true,
        }
    })
}

fn has_usual_year(text: &[u8]) -> bool {
    text.get(4) == Some(&b'-')
}
