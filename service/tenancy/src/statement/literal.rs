//! The values of a statement as literals: which types can be one, and the text of each.

use std::fmt::{self, Display, Write};

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use sea_orm::{Value, sea_query::OptionEnum};
use tenantry_migrate::sql::Literal;

/// Type of a parameter that can be a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    Bytea,
    Uuid,
    Jsonb,
    Date,
    Time,
    Timestamp,
    Timestamptz,
}

impl LiteralType {
    /// The type that the driver declares for a value, as `sea-query-sqlx` passes it on.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(_) => Self::Bool,
            Value::SmallInt(_) | Value::TinyUnsigned(_) => Self::Int2,
            Value::Int(_) | Value::SmallUnsigned(_) => Self::Int4,
            Value::BigInt(_) | Value::Unsigned(_) | Value::BigUnsigned(_) => Self::Int8,
            Value::Float(_) => Self::Float4,
            Value::Double(_) => Self::Float8,
            Value::String(_) | Value::Char(_) | Value::Enum(_) => Self::Text,
            Value::Bytes(_) => Self::Bytea,
            Value::Uuid(_) => Self::Uuid,
            Value::Json(_) => Self::Jsonb,
            Value::ChronoDate(_) => Self::Date,
            Value::ChronoTime(_) => Self::Time,
            Value::ChronoDateTime(_) => Self::Timestamp,
            Value::ChronoDateTimeUtc(_)
            | Value::ChronoDateTimeLocal(_)
            | Value::ChronoDateTimeWithTimeZone(_) => Self::Timestamptz,
            _ => return None,
        })
    }

    /// Its name in `pg_catalog`.
    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Float4 => "float4",
            Self::Float8 => "float8",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Uuid => "uuid",
            Self::Jsonb => "jsonb",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
        }
    }
}

/// A value as a literal, with the type and the value that the driver would have sent; `None` if it is
/// not of such a type or has no such text.
pub(crate) fn literal(value: &Value) -> Option<Literal> {
    Some(Literal { of: LiteralType::of(value)?.name(), text: text(value)? })
}

/// The text from which PostgreSQL reads the value that the driver would have sent; `Some(None)` for
/// NULL, `None` if there is no such text.
fn text(value: &Value) -> Option<Option<String>> {
    Some(match value {
        Value::Bool(value) => value.map(|it| if it { "t" } else { "f" }.to_owned()),
        Value::SmallInt(value) => value.map(|it| it.to_string()),
        Value::TinyUnsigned(value) => value.map(|it| it.to_string()),
        Value::Int(value) => value.map(|it| it.to_string()),
        Value::SmallUnsigned(value) => value.map(|it| it.to_string()),
        Value::BigInt(value) => value.map(|it| it.to_string()),
        Value::Unsigned(value) => value.map(|it| it.to_string()),
        Value::BigUnsigned(value) => match value {
            Some(number) => Some(i64::try_from(*number).ok()?.to_string()),
            None => None,
        },
        // The shortest text that reads as the same number; `inf`, `NaN` and `-0` are understood too
        // (PostgreSQL manual, 8.1.3).
        Value::Float(value) => value.map(|it| it.to_string()),
        Value::Double(value) => value.map(|it| it.to_string()),
        Value::String(Some(value)) => Some(bounded(value)?),
        Value::Char(value) => value.map(|it| it.to_string()),
        Value::Enum(OptionEnum::Some(value)) => Some(bounded(&value.value)?),
        Value::Bytes(Some(value)) => Some(hex(value)?),
        Value::Uuid(value) => value.map(|it| it.to_string()),
        Value::Json(Some(value)) => Some(bounded(value)?),
        Value::ChronoDate(Some(date)) => {
            in_range(date)?;
            Some(date.format("%Y-%m-%d").to_string())
        }
        Value::ChronoTime(Some(time)) => {
            let since = (*time - NaiveTime::MIN).num_microseconds()?;
            // In a leap second the driver may send a time after 24:00.
            let (time, days) =
                NaiveTime::MIN.overflowing_add_signed(TimeDelta::microseconds(since));
            if days != 0 {
                return None;
            }
            Some(time.format("%H:%M:%S%.6f").to_string())
        }
        Value::ChronoDateTime(Some(time)) => Some(timestamp(*time)?),
        Value::ChronoDateTimeUtc(Some(time)) => Some(timestamp(time.naive_utc())? + "+00"),
        Value::ChronoDateTimeLocal(Some(time)) => Some(timestamp(time.naive_utc())? + "+00"),
        Value::ChronoDateTimeWithTimeZone(Some(time)) => Some(timestamp(time.naive_utc())? + "+00"),
        Value::String(None)
        | Value::Enum(OptionEnum::None(_))
        | Value::Bytes(None)
        | Value::Json(None)
        | Value::ChronoDate(None)
        | Value::ChronoTime(None)
        | Value::ChronoDateTime(None)
        | Value::ChronoDateTimeUtc(None)
        | Value::ChronoDateTimeLocal(None)
        | Value::ChronoDateTimeWithTimeZone(None) => None,
        _ => return None,
    })
}

/// The text of a value, unless that is too long for a literal.
fn bounded(value: impl Display) -> Option<String> {
    let mut text = Bounded(String::new());
    write!(text, "{value}").ok()?;
    Some(text.0)
}

/// A text that is not too long for a literal.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > Literal::MAX_TEXT {
            return Err(fmt::Error);
        }
        self.0.write_str(text)
    }
}

fn hex(bytes: &[u8]) -> Option<String> {
    let mut hex = Bounded("\\x".to_owned());
    bytes.iter().try_for_each(|byte| write!(hex, "{byte:02x}")).ok()?;
    Some(hex.0)
}

/// A time in whole microseconds from 2000 on, as the driver sends it: truncated towards 2000.
fn timestamp(time: NaiveDateTime) -> Option<String> {
    let epoch = NaiveDate::from_ymd_opt(2000, 1, 1)?.and_hms_opt(0, 0, 0)?;
    let since = (time - epoch).num_microseconds()?;
    let time = epoch.checked_add_signed(TimeDelta::microseconds(since))?;
    in_range(&time.date())?;
    Some(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// Years that have four digits and no era.
fn in_range(date: &NaiveDate) -> Option<()> {
    (1..=9999).contains(&date.year()).then_some(())
}

#[cfg(test)]
mod tests;
