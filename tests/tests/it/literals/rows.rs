//! Rows whose texts the driver does not read, or not as the binary form.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult, Value, sqlx::Row};
use tenantry::{ColdStatements, Tenant};

use super::{Fixture, raw};

const TABLE: &str = r#"CREATE TABLE "@tenant"."days" ("n" int PRIMARY KEY, "day" date,
    "at" timestamptz, "time" time, "text" text)"#;

/// Rows with texts that the driver does not read.
const UNUSUAL: &str = r#"INSERT INTO "@tenant"."days" VALUES (1, '12024-02-03',
    '0044-03-15 12:00:00.5+00 BC', '12:00', 'O''Neill "1"'), (2, '2024-02-03', '2024-02-03 04:05:06.5Z',
    '24:00', NULL)"#;

const SELECT: &str = r#"SELECT * FROM "@tenant"."days" WHERE "n" > $1 ORDER BY "n""#;

type Day = (i32, NaiveDate, DateTime<Utc>, NaiveTime, Option<String>);

fn day(row: &QueryResult) -> Day {
    let names = ["n", "day", "at", "time", "text"].map(str::to_owned);
    row.try_get_many("", &names).unwrap()
}

async fn days(tenant: &Tenant) -> Vec<Day> {
    let rows = tenant.query_all_raw(raw(SELECT, [Value::from(0)])).await.unwrap();
    let one = tenant.query_one_raw(raw(SELECT, [Value::from(0)])).await.unwrap().unwrap();
    assert_eq!(day(&one), day(&rows[0]));
    rows.iter().map(day).collect()
}

#[tokio::test]
async fn dates_and_times_that_are_not_read_from_texts_are_read_all_the_same() {
    let mut found = Vec::new();
    for cold in [ColdStatements::Prepared, ColdStatements::Literal, ColdStatements::LiteralAtOnce] {
        let it = Fixture::with(cold, |_| {}).await;
        for tenant in [&it.one, &it.two] {
            tenant.execute_unprepared(TABLE).await.unwrap();
        }
        it.one
            .execute_unprepared(
                &UNUSUAL.replace("12024", "2024").replace(" BC", "").replace("24:00", "23:00"),
            )
            .await
            .unwrap();
        days(&it.one).await;
        it.two.execute_unprepared(UNUSUAL).await.unwrap();
        let of_two = days(&it.two).await;
        assert_eq!(of_two.len(), 2);
        let sent = it.log.statements(it.db.name());
        let literals =
            sent.iter().filter(|(_, sql)| sql.contains("('0'::pg_catalog.int4)")).count();
        assert_eq!(literals > 0, cold != ColdStatements::Prepared);
        found.push(of_two);
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
}

#[tokio::test]
async fn a_column_of_another_type_in_one_tenant_is_read_all_the_same() {
    let it = Fixture::new().await;
    for (tenant, of) in [(&it.one, "text"), (&it.two, "bytea")] {
        let table = format!(
            r#"CREATE TABLE "@tenant"."things" ("n" int, "it" {of});
               INSERT INTO "@tenant"."things" VALUES (1, 'it')"#
        );
        tenant.execute_unprepared(&table).await.unwrap();
    }
    let select = r#"SELECT "it" FROM "@tenant"."things" WHERE "n" = $1"#;
    for tenant in [&it.one, &it.two, &it.two] {
        let rows = tenant.query_all_raw(raw(select, [1.into()])).await.unwrap();
        if tenant.slug() == it.one.slug() {
            assert_eq!(rows[0].try_get::<String>("", "it").unwrap(), "it");
        } else {
            // In place, which the driver does not do with the text of a byte string.
            let row = rows[0].try_as_pg_row().unwrap();
            assert_eq!(row.try_get::<&[u8], _>("it").unwrap(), b"it");
        }
    }
    assert!(it.sent(&it.two, "1").0);
}

#[tokio::test]
async fn a_column_without_a_name_keeps_its_name() {
    let it = Fixture::new().await;
    for tenant in [&it.one, &it.two, &it.one] {
        let sql = r#"SELECT $1, count(*) FROM "@tenant"."guards""#;
        let row = tenant.query_one_raw(raw(sql, ["Abu".into()])).await.unwrap().unwrap();
        assert_eq!(row.column_names(), ["?column?", "count"]);
    }
    assert!(!it.sent(&it.two, "Abu").0);
}
