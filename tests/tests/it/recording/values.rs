//! Values that a migration sends as parameters are literals of the same value and type in a
//! recording.

use sea_orm::{DbBackend, Statement, Value, sea_query::ArrayType};
use tenantry_migrate::{Action, DynMigrator, Target, Timeouts, run};

use super::*;

/// Sends each value as a parameter and stores how PostgreSQL reads it.
#[derive(Clone, Copy)]
struct Keeps;

impl MigrationName for Keeps {
    fn name(&self) -> &str {
        "m2_keeps"
    }
}

fn values() -> Vec<Value> {
    let date = chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    let time = chrono::NaiveTime::from_hms_micro_opt(23, 59, 59, 123_456).unwrap();
    let zoned = chrono::DateTime::parse_from_rfc3339("2026-03-29T02:30:00.000001+05:45").unwrap();
    let texts = ["a", "it's", "\\", "\"@tenant\"", "$1", "{,\"}", "", "NULL", "\n/* -- ;", "é𝄞"];
    let array = |kind, values: Vec<Value>| Value::Array(kind, Some(Box::new(values)));
    let mut values = vec![
        true.into(),
        i16::MIN.into(),
        i32::MIN.into(),
        i64::MIN.into(),
        200_u8.into(),
        u16::MAX.into(),
        u32::MAX.into(),
        0.1_f32.into(),
        f32::MIN_POSITIVE.into(),
        0.1_f64.into(),
        f64::MAX.into(),
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        (-0.0_f64).into(),
        'x'.into(),
        '\''.into(),
        vec![0_u8, 39, 92, 255].into(),
        serde_json::json!({"a\\": ["it's", null, 1.50], "b": "\"@tenant\""}).into(),
        date.into(),
        time.into(),
        date.and_time(time).into(),
        zoned.into(),
        zoned.to_utc().into(),
        uuid::Uuid::max().into(),
        array(ArrayType::String, texts.map(Value::from).into()),
        array(ArrayType::Int, vec![1.into(), (-1).into()]),
        array(ArrayType::BigInt, Vec::new()),
        Value::Bool(None),
        Value::Int(None),
        Value::String(None),
        Value::Bytes(None),
        Value::Json(None),
        Value::Uuid(None),
        Value::ChronoDate(None),
    ];
    values.extend(texts.map(Value::from));
    values
}

#[async_trait::async_trait]
impl MigrationTrait for Keeps {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("CREATE TABLE kept (n serial PRIMARY KEY, type text, value text)")
            .await?;
        for (n, value) in values().into_iter().enumerate() {
            // The driver caches prepared statements by text, regardless of types.
            let insert = "INSERT INTO kept (type, value) VALUES (pg_typeof($1)::text, $1::text)";
            let insert = format!("{insert} -- {n}");
            let insert = Statement::from_sql_and_values(DbBackend::Postgres, insert, [value]);
            db.execute_raw(insert).await?;
        }
        // As SeaORM's builder sends them.
        let many = (0..600).map(|number| [format!("it's no. {number}").into(), number.into()]);
        let mut insert = Query::insert();
        insert.into_table("books").columns(["title", "number"]);
        many.for_each(|row: [sea_orm::sea_query::Expr; 2]| {
            insert.values_panic(row);
        });
        manager.exec_stmt(insert).await
    }
}

#[tokio::test]
async fn values_of_every_type_are_recorded_as_they_are_sent() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain(Keeps))).await.unwrap();
    tenancy.create(NewTenant::new(slug("recorded"))).await.unwrap();
    let batches =
        db.statements().into_iter().filter(|sql| sql.contains("CREATE SCHEMA \"recorded\""));
    let batches: Vec<String> = batches.collect();
    assert!(batches.len() == 1 && batches[0].contains("no. 599"), "{batches:#?}");

    texts(&plain, "CREATE SCHEMA sent").await;
    let (target, migrator) =
        (Target::Schema("sent".parse().unwrap()), DynMigrator::tenant(Chain(Keeps)));
    run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();
    for table in ["kept ORDER BY n", "books ORDER BY id", "last"] {
        let rows = |schema| {
            format!(
                "SELECT t::text FROM {schema}.{}",
                table
                    .replace("kept", "kept t")
                    .replace("books", "books t")
                    .replace("last", "last t")
            )
        };
        let (recorded, sent) =
            (texts(&plain, &rows("recorded")).await, texts(&plain, &rows("sent")).await);
        assert_eq!(recorded, sent);
        assert!(!sent.is_empty());
    }
    let kept =
        texts(&plain, "SELECT value FROM recorded.kept WHERE type = 'text' AND value LIKE '\"%'")
            .await;
    assert_eq!(kept, ["\"@tenant\""]);
}
