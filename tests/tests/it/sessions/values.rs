//! Values that cannot be sent.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement, StreamTrait, TransactionTrait, Value,
    sea_query::ArrayType,
    sqlx::types::time::{OffsetDateTime, UtcOffset},
};
use tenantry::Misuse;

use super::{Shared, named, pid, text};

fn with_values(sql: impl Into<String>, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// An insert of this many values.
fn of_rows(count: usize) -> Statement {
    let rows: Vec<String> = (1..=count).map(|number| format!("(${number}::int)")).collect();
    let sql = format!("SELECT count(*)::text FROM (VALUES {}) AS v (n)", rows.join(", "));
    with_values(sql, vec![1.into(); count])
}

#[track_caller]
fn misuse(result: Result<(), DbErr>) -> (Misuse, String) {
    let error = result.unwrap_err();
    let misuse = Misuse::find(&error).unwrap_or_else(|| panic!("{error}")).clone();
    (misuse, error.to_string())
}

#[tokio::test]
async fn a_statement_with_too_many_parameters_is_the_callers_error_and_costs_nothing() {
    let it = Shared::new().await;
    let before = pid(&it.one).await;
    for count in [65_536, 70_000, 200_000] {
        let txn = it.one.begin().await.unwrap();
        for result in [
            txn.execute_raw(of_rows(count)).await.map(drop),
            txn.query_one_raw(of_rows(count)).await.map(drop),
        ] {
            let (misuse, message) = misuse(result);
            assert_eq!(misuse, Misuse::TooManyParameters { count });
            assert!(message.contains(&count.to_string()) && message.contains("65535"), "{message}");
        }
        // Nothing was sent, so the transaction is still usable.
        assert_eq!(text(&txn, "SELECT 'on'").await.unwrap().as_deref(), Some("on"));
        txn.commit().await.unwrap();
        for result in [
            it.one.execute_raw(of_rows(count)).await.map(drop),
            it.one.query_all_raw(of_rows(count)).await.map(drop),
            it.one.stream_raw(of_rows(count)).await.map(drop),
        ] {
            assert_eq!(misuse(result).0, Misuse::TooManyParameters { count });
        }
    }
    let most = it.one.query_one_raw(of_rows(65_535)).await.unwrap().unwrap();
    assert_eq!(most.try_get_by_index::<String>(0).unwrap(), "65535");
    assert_eq!(pid(&it.two).await, before);
}

#[tokio::test]
async fn a_value_that_the_driver_cannot_send_is_an_error_of_its_statement() {
    let it = Shared::new().await;
    let before = pid(&it.one).await;
    let array = |of: ArrayType, elements: Vec<Value>| Value::Array(of, Some(Box::new(elements)));
    let beyond = OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap();
    let beyond = beyond.replace_offset(UtcOffset::from_hms(-1, 0, 0).unwrap());
    for (value, hint) in [
        (Value::from(u64::MAX), "18446744073709551615"),
        (Value::from(i64::MAX as u64 + 1), "9223372036854775808"),
        (vec![1_u64, u64::MAX].into(), "18446744073709551615"),
        (array(ArrayType::Int, vec![1.into(), Value::Int(None)]), "NULL"),
        (array(ArrayType::String, vec!["a".into(), 1.into()]), "another type"),
        (array(ArrayType::Int, vec![vec![1].into()]), "another type"),
        (array(ArrayType::Json, vec![Value::Json(None)]), "NULL"),
        (Value::from(beyond), "9999"),
    ] {
        let statement = || with_values("SELECT $1::text, $2", vec!["a".into(), value.clone()]);
        let txn = it.one.begin().await.unwrap();
        let results =
            [it_fails(&txn, statement()).await, txn.query_one_raw(statement()).await.map(drop)];
        txn.commit().await.unwrap();
        let streamed = it.one.stream_raw(statement()).await.map(drop);
        let others = [it_fails(&it.one, statement()).await, streamed];
        for result in results.into_iter().chain(others) {
            let (misuse, message) = misuse(result);
            assert!(matches!(misuse, Misuse::Value { number: 2, .. }), "{misuse:?}");
            assert!(message.contains(hint) && message.contains("$2"), "{message}");
        }
    }
    // Of a parameter that the SQL does not contain.
    let json = || with_values("SELECT $1::text", vec!["a".into(), serde_json::json!({}).into()]);
    let (misuse, _) = misuse(it.one.query_one_raw(json()).await.map(drop));
    assert!(matches!(misuse, Misuse::Value { number: 2, .. }), "{misuse:?}");
    assert_eq!(pid(&it.two).await, before);
}

async fn it_fails(db: &impl ConnectionTrait, statement: Statement) -> Result<(), DbErr> {
    db.execute_raw(statement).await.map(drop)
}

#[tokio::test]
async fn values_at_the_edge_arrive() {
    let it = Shared::new().await;
    for (value, cast, expected) in [
        (Value::from(i64::MAX as u64), "bigint", "9223372036854775807"),
        (vec![0_u64, i64::MAX as u64].into(), "bigint[]", "{0,9223372036854775807}"),
        (Vec::<i32>::new().into(), "int[]", "{}"),
        (Value::Array(ArrayType::Int, None), "int[]", "null"),
        (Value::BigUnsigned(None), "bigint", "null"),
        (serde_json::json!([1]).into(), "jsonb", "[1]"),
        (vec!["a".to_owned(), "b".to_owned()].into(), "text[]", "{a,b}"),
    ] {
        let sql = format!("SELECT coalesce(($1::{cast})::text, 'null')");
        let row = it.one.query_one_raw(with_values(sql, vec![value])).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<String>(0).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_text_with_a_nul_is_refused_and_the_connection_kept() {
    use sea_orm::ActiveModelTrait;

    let it = Shared::new().await;
    let before = pid(&it.one).await;
    named("a\0b").insert(&it.one).await.unwrap_err();
    assert_eq!(pid(&it.two).await, before);
}
