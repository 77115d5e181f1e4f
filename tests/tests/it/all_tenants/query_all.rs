//! Rows of all tenants in one stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use entity::guard;
use futures_util::{StreamExt, TryStreamExt};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter,
    QueryOrder, QuerySelect, Set,
};
use tenantry::{Config, DbErrorKind, Error, Tenancy, TenantRow};

use super::{set_behind, set_status};
use crate::support::{TestDb, abu, catalog::texts, http_server::eventually, slug};

#[derive(Debug, PartialEq, FromQueryResult)]
struct Count {
    count: i64,
}

async fn insert(tenancy: &Tenancy, name: &str, guards: impl IntoIterator<Item = &str>) {
    let tenant = tenancy.tenant(&slug(name)).await.unwrap();
    for guard in guards {
        let row = guard::ActiveModel { name: Set(guard.to_owned()), ..abu() };
        row.insert(&tenant).await.unwrap();
    }
}

#[tokio::test]
async fn rows_come_with_their_tenant_and_in_order() {
    let db = TestDb::new().await;
    let (tenancy, tenants) = db.with_tenants(["one", "two", "none"]).await;
    insert(&tenancy, "one", ["Abu", "Bea", "Cid"]).await;
    insert(&tenancy, "two", ["Abu", "Dan"]).await;
    let select = guard::Entity::find()
        .filter(guard::Column::Name.ne("Bea"))
        .order_by_desc(guard::Column::Name);
    let rows: Vec<TenantRow<guard::Model>> =
        tenancy.query_all(select, 2).try_collect().await.unwrap();
    let mut names = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        let tenant = tenants.iter().find(|tenant| tenant.id() == row.id).unwrap();
        assert_eq!(tenant.slug(), &row.slug);
        names.entry(row.slug.to_string()).or_default().push(row.row.name);
    }
    let expected = [("one", vec!["Cid", "Abu"]), ("two", vec!["Dan", "Abu"])];
    let expected = expected.map(|(slug, names)| {
        (slug.to_owned(), names.into_iter().map(str::to_owned).collect::<Vec<_>>())
    });
    assert_eq!(names, BTreeMap::from(expected));

    let count = guard::Entity::find().select_only().column_as(guard::Column::Id.count(), "count");
    // No concurrency is one at a time.
    let mut counts: Vec<_> = tenancy
        .query_all::<Count>(count, 0)
        .map_ok(|it| (it.slug.to_string(), it.row.count))
        .try_collect()
        .await
        .unwrap();
    counts.sort_unstable();
    assert_eq!(counts, [("none".into(), 0), ("one".into(), 3), ("two".into(), 2)]);
}

#[tokio::test]
async fn a_tenant_that_fails_is_one_item_and_the_others_go_on() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["one", "broken", "behind", "two", "odd", "gone"]).await;
    for name in ["one", "broken", "two"] {
        insert(&tenancy, name, ["Abu"]).await;
    }
    insert(&tenancy, "odd", ["Abu", "Bea"]).await;
    tenancy.close().await;
    plain.execute_unprepared("DROP TABLE broken.guards CASCADE").await.unwrap();
    // Two rows that cannot be read.
    plain
        .execute_unprepared("ALTER TABLE odd.guards ALTER name TYPE bytea USING ''")
        .await
        .unwrap();
    plain.execute_unprepared("DROP SCHEMA gone CASCADE").await.unwrap();
    set_behind(&plain, "behind").await;
    set_status(&plain, "gone", "dropping").await;

    let tenancy = db.tenancy().await;
    let mut items: Vec<_> = tenancy
        .query_all::<guard::Model>(guard::Entity::find(), 3)
        .map(|item| match item {
            Ok(row) => (row.slug.to_string(), row.row.name),
            Err(error @ Error::OfTenant { .. }) => {
                let kind = error.db_error_kind();
                let Error::OfTenant { slug, source } = error else { unreachable!() };
                match *source {
                    Error::Unavailable(it) => (slug.to_string(), it.availability.as_str().into()),
                    _ if kind == Some(DbErrorKind::UndefinedTable) => {
                        (slug.to_string(), "undefined table".to_owned())
                    }
                    other => {
                        assert!(other.to_string().contains("name"), "{other}");
                        (slug.to_string(), "unreadable".to_owned())
                    }
                }
            }
            Err(other) => panic!("{other}"),
        })
        .collect()
        .await;
    items.sort_unstable();
    let expected = [
        ("behind", "behind"),
        ("broken", "undefined table"),
        ("odd", "unreadable"),
        ("one", "Abu"),
        ("two", "Abu"),
    ];
    assert_eq!(items, expected.map(|(slug, what)| (slug.to_owned(), what.to_owned())));
}

/// The caller reads slowly: rows stay in the server, and connections for others are left.
#[tokio::test]
async fn a_stream_that_is_not_read_keeps_few_rows_and_connections_and_ends_when_it_is_dropped() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { max_connections: 4, ..db.config() };
    let (tenancy, _) = db.with_tenants(["one", "two", "three", "four", "five"]).await;
    for name in ["one", "two", "three", "four", "five"] {
        let many = format!(
            "INSERT INTO {name}.guards SELECT gen_random_uuid(), repeat('x', 1000), '', now(), now()
             FROM generate_series(1, 20000)"
        );
        plain.execute_unprepared(&many).await.unwrap();
    }
    tenancy.close().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut rows = tenancy.query_all::<guard::Model>(guard::Entity::find(), 10);
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        seen.insert(rows.next().await.unwrap().unwrap().slug);
    }
    let active = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
                  AND state = 'active' AND query LIKE 'SELECT%guards%' AND pid <> pg_backend_pid()";
    // The servers wait for the client: most of the rows are not read.
    eventually("two statements are in progress", async || texts(&plain, active).await.len() == 2)
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(texts(&plain, active).await.len(), 2);
    insert(&tenancy, "five", ["Abu"]).await;
    drop(rows);
    eventually("no statement is in progress", async || texts(&plain, active).await.is_empty())
        .await;
    let count = guard::Entity::find().select_only().column_as(guard::Column::Id.count(), "count");
    let counts: Vec<_> = tenancy.query_all::<Count>(count, 10).try_collect().await.unwrap();
    assert_eq!(counts.iter().map(|it| it.row.count).sum::<i64>(), 100_001);
}

#[tokio::test]
async fn a_statement_that_a_migration_has_made_stale_is_sent_again() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let config = Config { max_connections: 1, ..db.config() };
    let (_, _) = db.with_tenants(["one"]).await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    insert(&tenancy, "one", ["Abu"]).await;
    #[derive(Debug, FromQueryResult)]
    struct Name {
        name: String,
    }
    let select = || guard::Entity::find().select_only().column(guard::Column::Name);
    let names = async || {
        let rows: Vec<TenantRow<Name>> =
            tenancy.query_all(select(), 1).try_collect().await.unwrap();
        rows.into_iter().map(|row| row.row.name).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(names().await, ["Abu"]);
    }
    let changed = "ALTER TABLE one.guards ALTER COLUMN name TYPE varchar";
    plain.execute_unprepared(changed).await.unwrap();
    assert_eq!(names().await, ["Abu"]);
}
