//! A literal is the value that the driver would have sent as a parameter, and a row read as text the
//! one that it would have read.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use proptest::{prelude::*, strategy::Union, test_runner::TestRunner};
use sea_orm::{
    ConnectionTrait, FromQueryResult, JsonValue, QueryResult, TryGetable, Value,
    prelude::{TimeDate, TimeDateTime, TimeDateTimeWithTimeZone, TimeTime},
};
use tenantry::{ColdStatements, Tenancy, Tenant};
use uuid::Uuid;

use super::{Fixture, raw};

/// Pieces of texts that could end a literal, or be mistaken for one.
const HOSTILE: [&str; 20] = [
    "'",
    "''",
    "\\",
    "\\'",
    "\\\\",
    "$",
    "$1",
    "$$",
    "$tag$",
    "--",
    "/*",
    "*/",
    ";",
    "\"",
    "E'",
    "\n",
    "é",
    "\u{ffff}",
    "💂",
    "\u{5c}\u{27}",
];

const TABLE: &str = r#"CREATE TABLE "@tenant"."values_" ("n" int PRIMARY KEY, "bool" bool,
    "int2" int2, "int4" int4, "int8" int8, "float4" float4, "float8" float8, "text" text,
    "varchar" varchar, "bpchar" char(20), "bytea" bytea, "uuid" uuid, "jsonb" jsonb, "json" json,
    "date" date, "time" time, "timestamp" timestamp, "timestamptz" timestamptz)"#;

/// Two handles of a tenant: one that sends literals, and one that does not.
struct Both {
    literal: Tenant,
    prepared: Tenant,
    _tenancy: Tenancy,
    of: Fixture,
}

impl Both {
    async fn new() -> Self {
        let of = Fixture::with(ColdStatements::LiteralAtOnce, |_| {}).await;
        let (tenancy, prepared) = of.again(ColdStatements::Prepared).await;
        of.one.execute_unprepared(TABLE).await.unwrap();
        Self { literal: of.one.clone(), prepared, _tenancy: tenancy, of }
    }

    /// Asserts that a value arrives as the same one, in a table and in an expression.
    async fn assert_same(&self, column: &str, value: &Value) {
        let name = if column == "json" || column == "varchar" || column == "bpchar" {
            "text"
        } else {
            column
        };
        let ask = format!(
            "SELECT pg_typeof(it)::text AS of, it FROM (SELECT $1 AS it) AS one WHERE pg_typeof($1) = '{name}'::regtype"
        );
        let cast = match column {
            "json" => "$1::text::json",
            _ => "$1",
        };
        let insert = format!(
            r#"INSERT INTO "@tenant"."values_" ("n", "{column}") VALUES ($2, {cast})
               ON CONFLICT ("n") DO UPDATE SET "{column}" = EXCLUDED."{column}""#
        );
        let mut rows = Vec::new();
        for (number, tenant) in [(1, &self.literal), (2, &self.prepared)] {
            if name == column {
                rows.push(one(tenant, &ask, [value.clone()]).await);
            }
            tenant.execute_raw(raw(&insert, [value.clone(), number.into()])).await.unwrap();
            let read =
                format!(r#"SELECT "{column}" AS it FROM "@tenant"."values_" WHERE "n" = $1"#);
            for reader in [&self.literal, &self.prepared] {
                rows.push(one(reader, &read, [number.into()]).await);
            }
        }
        let found: Vec<_> = rows.iter().map(|row| decoded(row, column)).collect();
        assert!(found.iter().all(|it| *it == found[0]), "{column} {value:?}: {found:?}");
        // On the server, and in the text that it has for both.
        let equal = format!(
            r#"SELECT count(*) FROM "@tenant"."values_" AS a, "@tenant"."values_" AS b
               WHERE a."n" = 1 AND b."n" = 2 AND a."{column}"::text IS NOT DISTINCT FROM b."{column}"::text"#
        );
        let count: i64 = one(&self.prepared, &equal, []).await.try_get("", "count").unwrap();
        assert_eq!(count, 1, "{column} {value:?}");
    }
}

async fn one(tenant: &Tenant, sql: &str, values: impl IntoIterator<Item = Value>) -> QueryResult {
    tenant.query_one_raw(raw(sql, values)).await.unwrap().unwrap()
}

/// The value as SeaORM reads it, by name, by index and as JSON.
fn decoded(row: &QueryResult, column: &str) -> String {
    let json = JsonValue::from_query_result(row, "").unwrap()["it"].clone();
    let value = match column {
        "bool" => read::<bool>(row),
        "int2" => read::<i16>(row),
        "int4" => read::<i32>(row),
        "int8" => read::<i64>(row),
        "float4" => read::<f32>(row),
        "float8" => read::<f64>(row),
        "text" | "varchar" | "bpchar" => read::<String>(row),
        "bytea" => read::<Vec<u8>>(row),
        "uuid" => read::<Uuid>(row),
        "json" | "jsonb" => read::<JsonValue>(row),
        "date" => with_time::<TimeDate>(row, read::<NaiveDate>(row)),
        "time" => with_time::<TimeTime>(row, read::<NaiveTime>(row)),
        "timestamp" => with_time::<TimeDateTime>(row, read::<NaiveDateTime>(row)),
        "timestamptz" => {
            let read = read::<DateTime<Utc>>(row) + &read::<DateTime<chrono::FixedOffset>>(row);
            with_time::<TimeDateTimeWithTimeZone>(row, read)
        }
        other => panic!("{other}"),
    };
    format!("{value} {json}")
}

fn read<T: TryGetable + std::fmt::Debug>(row: &QueryResult) -> String {
    format!("{:?}", row.try_get::<Option<T>>("", "it").unwrap())
}

/// What was read with `chrono`, and the same with `time`, whose years have four digits.
fn with_time<T: TryGetable + std::fmt::Debug>(row: &QueryResult, chrono: String) -> String {
    if chrono.starts_with("Some(+") { chrono } else { chrono + &read::<T>(row) }
}

/// Columns with random values for them.
fn values() -> impl Strategy<Value = (&'static str, Value)> {
    let of = |column: &'static str, values: BoxedStrategy<Value>| {
        values.prop_map(move |value| (column, value)).boxed()
    };
    let piece = prop_oneof![
        proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ];
    let text = proptest::collection::vec(piece, 0..8).prop_map(|all| all.concat()).boxed();
    let long = ("[a'\\\\é]{20}", 300..500_usize).prop_map(|(text, times)| text.repeat(times));
    let json = prop_oneof![
        any::<bool>().prop_map(JsonValue::from),
        any::<i64>().prop_map(JsonValue::from),
        any::<f64>().prop_map(JsonValue::from),
        text.clone().prop_map(JsonValue::from),
        proptest::collection::btree_map(text.clone(), any::<i32>(), 0..4)
            .prop_map(|map| serde_json::to_value(map).unwrap()),
    ]
    .boxed();
    // Microseconds around 2000, in more years than those of literals, with parts that are cut off.
    let micros = prop_oneof![
        any::<i32>().prop_map(i64::from),
        any::<i32>().prop_map(|seconds| i64::from(seconds) * 1_000_000),
        -70_000_000_000_000_000..300_000_000_000_000_000_i64
    ];
    let moment = (micros, 0..1000_i64).prop_map(|(micros, nanos)| {
        let epoch = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap().and_time(NaiveTime::MIN);
        epoch + TimeDelta::microseconds(micros) + TimeDelta::nanoseconds(nanos)
    });
    let moment = moment.boxed();
    let time =
        (0..86_400_u32, prop_oneof![Just(0), 0..1_000_000_000_u32]).prop_map(|(seconds, nanos)| {
            NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).unwrap()
        });
    Union::new([
        of("bool", any::<Option<bool>>().prop_map(Value::from).boxed()),
        of("int2", any::<Option<i16>>().prop_map(Value::from).boxed()),
        of("int2", any::<u8>().prop_map(Value::from).boxed()),
        of("int4", any::<Option<i32>>().prop_map(Value::from).boxed()),
        of("int4", any::<u16>().prop_map(Value::from).boxed()),
        of("int8", any::<Option<i64>>().prop_map(Value::from).boxed()),
        of("int8", any::<u32>().prop_map(Value::from).boxed()),
        of("int8", (0..=i64::MAX as u64).prop_map(Value::from).boxed()),
        of("float4", any::<Option<f32>>().prop_map(Value::from).boxed()),
        of("float4", any::<u32>().prop_map(|bits| Value::from(f32::from_bits(bits))).boxed()),
        of("float8", any::<Option<f64>>().prop_map(Value::from).boxed()),
        of("float8", any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))).boxed()),
        of("text", text.clone().prop_map(Value::from).boxed()),
        of("text", long.prop_map(Value::from).boxed()),
        of(
            "text",
            any::<char>().prop_filter("NUL", |it| *it != '\0').prop_map(Value::from).boxed(),
        ),
        of("text", Just(Value::String(None)).boxed()),
        of("varchar", text.clone().prop_map(Value::from).boxed()),
        of("bpchar", "[a'\\\\ ]{0,20}".prop_map(Value::from).boxed()),
        of("bytea", any::<Option<Vec<u8>>>().prop_map(Value::from).boxed()),
        of("uuid", any::<u128>().prop_map(|it| Value::from(Uuid::from_u128(it))).boxed()),
        of("jsonb", json.clone().prop_map(Value::from).boxed()),
        of("json", json.prop_map(|json| Value::from(json.to_string())).boxed()),
        of("date", moment.clone().prop_map(|it| Value::from(it.date())).boxed()),
        of("time", time.prop_map(Value::from).boxed()),
        of("timestamp", moment.clone().prop_map(Value::from).boxed()),
        of("timestamptz", moment.prop_map(|it| Value::from(it.and_utc())).boxed()),
    ])
}

#[test]
fn any_value_of_each_type_is_the_same_as_a_parameter() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let both = runtime.block_on(Both::new());
    let mut cases = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    });
    let result = cases.run(&values(), |(column, value)| {
        runtime.block_on(both.assert_same(column, &value));
        Ok(())
    });
    result.unwrap();
    // Not all were bound.
    let sent = both.of.log.statements(both.of.db.name());
    for (name, least) in
        [("text", 20), ("int8", 20), ("int4", 200), ("timestamptz", 3), ("jsonb", 3), ("bytea", 3)]
    {
        let literals =
            sent.iter().filter(|(_, sql)| sql.contains(&format!("::pg_catalog.{name})"))).count();
        assert!(literals >= least, "{literals} of {name}");
    }
    runtime.block_on(async { drop(both) });
}

#[tokio::test]
async fn numbers_at_the_ends_of_their_ranges_are_the_same() {
    let both = Both::new().await;
    for (column, values) in [
        ("float4", vec![f32::MIN_POSITIVE.into(), f32::from_bits(1).into(), f32::MAX.into()]),
        ("float8", vec![f64::MIN_POSITIVE.into(), f64::from_bits(1).into(), f64::MIN.into()]),
        ("float8", vec![f64::NAN.into(), f64::INFINITY.into(), (-0.0_f64).into()]),
        ("float4", vec![f32::NAN.into(), f32::NEG_INFINITY.into(), (-0.0_f32).into()]),
        ("int8", vec![i64::MIN.into(), i64::MAX.into()]),
        ("int2", vec![i16::MIN.into(), u8::MAX.into()]),
    ] {
        for value in values {
            both.assert_same(column, &value).await;
        }
    }
}
