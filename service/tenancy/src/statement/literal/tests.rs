use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use sea_orm::{Value, sea_query::ArrayType};

use super::{Literal, literal};

fn text(value: impl Into<Value>) -> Option<String> {
    let literal = literal(&value.into())?;
    Some(format!("{}::{}", literal.text.unwrap_or_else(|| "NULL".to_owned()), literal.of))
}

fn date(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 2, 3).unwrap()
}

fn time(nanoseconds: u32) -> NaiveTime {
    NaiveTime::from_hms_nano_opt(23, 59, 59, nanoseconds).unwrap()
}

#[test]
fn each_type_has_the_text_that_postgresql_reads() {
    for (value, expected) in [
        (Value::from(true), "t::bool"),
        (Value::from(-5_i16), "-5::int2"),
        (Value::from(200_u8), "200::int2"),
        (Value::from(60_000_u16), "60000::int4"),
        (Value::from(i32::MIN), "-2147483648::int4"),
        (Value::from(u32::MAX), "4294967295::int8"),
        (Value::from(i64::MAX), "9223372036854775807::int8"),
        (Value::from(7_u64), "7::int8"),
        (Value::from(0.1_f32), "0.1::float4"),
        (Value::from(-0.0_f64), "-0::float8"),
        (Value::from(f64::NEG_INFINITY), "-inf::float8"),
        (Value::from(f32::NAN), "NaN::float4"),
        (Value::from("O'Neill"), "O'Neill::text"),
        (Value::from('\\'), "\\::text"),
        (Value::from(vec![0_u8, 255]), "\\x00ff::bytea"),
        (Value::from(uuid::Uuid::nil()), "00000000-0000-0000-0000-000000000000::uuid"),
        (Value::from(serde_json::json!({"a": "b\n"})), "{\"a\":\"b\\n\"}::jsonb"),
        (Value::from(date(7)), "0007-02-03::date"),
        (Value::from(time(999_999_999)), "23:59:59.999999::time"),
        (Value::from(date(2024).and_time(time(1))), "2024-02-03 23:59:59.000000::timestamp"),
        (
            Value::from(DateTime::parse_from_rfc3339("2024-02-03T01:30:00+02:00").unwrap()),
            "2024-02-02 23:30:00.000000+00::timestamptz",
        ),
        (Value::Int(None), "NULL::int4"),
        (Value::Json(None), "NULL::jsonb"),
        (Value::ChronoTime(None), "NULL::time"),
    ] {
        assert_eq!(text(value.clone()).as_deref(), Some(expected), "{value:?}");
    }
}

#[test]
fn a_time_before_2000_is_truncated_as_the_driver_does() {
    let before = NaiveDateTime::new(date(1999), time(999_999_001));
    assert_eq!(text(before).as_deref(), Some("1999-02-04 00:00:00.000000::timestamp"));
}

#[test]
fn values_without_an_exact_text_stay_parameters() {
    for value in [
        Value::from(i8::MAX),
        Value::from(u64::MAX),
        Value::from(date(0)),
        Value::from(date(10_000)),
        Value::from(date(-1).and_time(time(0))),
        // A leap second at midnight, which the driver sends as a time after 24:00.
        Value::from(time(1_500_000_000)),
        Value::Array(ArrayType::Int, Some(Box::default())),
        Value::from("a".repeat(Literal::MAX_TEXT + 1)),
        Value::from(serde_json::json!(["a".repeat(Literal::MAX_TEXT - 3)])),
        Value::from(vec![0_u8; 4096]),
    ] {
        assert_eq!(text(value.clone()), None, "{value:?}");
    }
    for value in [
        Value::from("a".repeat(Literal::MAX_TEXT)),
        Value::from(serde_json::json!(["a".repeat(Literal::MAX_TEXT - 4)])),
        Value::from(vec![0_u8; 4095]),
    ] {
        assert!(text(value).is_some());
    }
}
