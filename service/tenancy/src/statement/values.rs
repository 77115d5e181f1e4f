//! Values that the driver cannot send: it panics on some of them and leaves out others.

use sea_orm::{
    Statement, Value, Values,
    sea_query::ArrayType,
    sqlx::{Arguments, IntoArguments, postgres::PgArguments},
};
use sea_query_sqlx::SqlxValues;
use tenantry_migrate::sql::{Kind, tokens};

use super::Misuse;

/// Refuses a statement whose values cannot be sent.
pub(crate) fn check(statement: &Statement) -> Result<(), Misuse> {
    let Some(Values(values)) = &statement.values else { return Ok(()) };
    if values.len() > Misuse::MAX_PARAMETERS {
        return Err(Misuse::TooManyParameters { count: values.len() });
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(reason) = flaw(value) {
            return Err(Misuse::Value { number: index + 1, reason });
        }
    }
    // For JSON the driver looks up the type of the parameter, and panics if the SQL has no such
    // parameter.
    match values.iter().rposition(is_json) {
        Some(index) if index >= parameters(&statement.sql) => {
            let reason = "the SQL of the statement does not contain it".to_owned();
            Err(Misuse::Value { number: index + 1, reason })
        }
        _ => Ok(()),
    }
}

/// Encodes the values. The driver leaves out a value that it cannot encode, which would shift the
/// others.
pub(crate) fn encode(values: Values) -> Result<PgArguments, Misuse> {
    let count = values.0.len();
    let arguments = SqlxValues(values).into_arguments();
    if arguments.len() == count {
        return Ok(arguments);
    }
    Err(Misuse::Encoding { encoded: arguments.len(), count })
}

/// Why the driver would panic on a value.
fn flaw(value: &Value) -> Option<String> {
    match value {
        Value::BigUnsigned(Some(number)) if i64::try_from(*number).is_err() => {
            Some(too_large(*number))
        }
        Value::TimeDateTimeWithTimeZone(Some(time)) if time.checked_to_utc().is_none() => {
            Some(format!("{time} is not in the range of years in UTC"))
        }
        Value::Array(of, Some(elements)) => {
            elements.iter().find_map(|element| flaw_in(of, element))
        }
        _ => None,
    }
}

/// Why the driver would panic on an element of an array.
fn flaw_in(array: &ArrayType, element: &Value) -> Option<String> {
    let found = element.array_type();
    let (is_array, is_enum) =
        (matches!(element, Value::Array(..)), matches!(found, ArrayType::Enum(_)));
    // The name of an enum type is not sent.
    let fits = found == *array || is_enum && matches!(array, ArrayType::Enum(_));
    if is_array || !fits {
        Some(format!("an array of {array:?} holds a value of another type, {found:?}"))
    } else if !element.is_some() {
        Some(format!(
            "an array of {array:?} holds NULL, which the driver cannot send; leave it out"
        ))
    } else {
        flaw(element)
    }
}

fn too_large(number: u64) -> String {
    format!("{number} is larger than bigint can hold ({}); use a numeric", i64::MAX)
}

fn is_json(value: &Value) -> bool {
    matches!(value, Value::Json(_) | Value::Array(ArrayType::Json, _))
}

/// The highest number of a parameter.
fn parameters(sql: &str) -> usize {
    let numbers = tokens(sql)
        .filter(|token| token.kind == Kind::Other)
        .filter_map(|token| sql[token.at].strip_prefix('$')?.parse().ok());
    numbers.max().unwrap_or_default()
}
