//! Streams, inside and outside of a transaction.

use entity::{guard, shift};
use futures_util::{StreamExt, TryStreamExt};
use sea_orm::{
    ActiveModelTrait, EntityTrait, PaginatorTrait, QueryOrder, StreamTrait, TransactionTrait,
};

use super::{
    TwoTenants,
    two_tenants::{names, new_guard, postgres},
};

#[tokio::test]
async fn a_stream_outside_of_a_transaction_is_of_one_tenant() {
    let both = TwoTenants::new().await;
    let sorted = guard::Entity::find().order_by_asc(guard::Column::Id);
    let stream = sorted.clone().stream(&both.one).await.unwrap();
    let found: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(names(&found), ["Abu", "Bea", "Cem"]);

    // Two streams at once, row by row: each reads its own schema.
    let mut of_one = sorted.clone().stream(&both.one).await.unwrap();
    let mut of_two = sorted.stream(&both.two).await.unwrap();
    let mut pairs = Vec::new();
    while let (Some(one), Some(two)) = (of_one.next().await, of_two.next().await) {
        pairs.push((one.unwrap().name, two.unwrap().name));
    }
    let expected = [("Abu", "Xia"), ("Bea", "Yan"), ("Cem", "Zoe")];
    assert_eq!(pairs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[tokio::test]
async fn streams_of_joins_pages_and_raw_sql_are_of_one_tenant() {
    let both = TwoTenants::new().await;
    let joined =
        shift::Entity::find().find_also_related(guard::Entity).order_by_asc(shift::Column::Id);
    let joined = joined.stream(&both.one).await.unwrap();
    let on_duty: Vec<_> =
        joined.map_ok(|(_, guard)| guard.unwrap().name).try_collect().await.unwrap();
    assert_eq!(on_duty, ["Abu", "Abu", "Bea"]);

    let pages = guard::Entity::find().order_by_asc(guard::Column::Id);
    let pages = pages.paginate(&both.one, 2).into_stream();
    let sizes: Vec<_> = pages.map_ok(|page| page.len()).try_collect().await.unwrap();
    assert_eq!(sizes, [2, 1]);

    let raw = postgres(r#"SELECT "name" FROM "@tenant"."guards" ORDER BY "name" LIMIT 2"#);
    let raw = both.two.stream_raw(raw).await.unwrap();
    let found: Vec<String> =
        raw.map_ok(|row| row.try_get("", "name").unwrap()).try_collect().await.unwrap();
    assert_eq!(found, ["Wim", "Xia"]);
}

#[tokio::test]
async fn a_stream_inside_a_transaction_sees_its_writes() {
    let both = TwoTenants::new().await;
    let sorted = guard::Entity::find().order_by_asc(guard::Column::Id);
    let txn = both.one.begin().await.unwrap();
    new_guard(4, "Dan", "Moat").insert(&txn).await.unwrap();
    let stream = sorted.clone().stream(&txn).await.unwrap();
    let found: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(names(&found), ["Abu", "Bea", "Cem", "Dan"]);

    // A stream that is dropped halfway leaves the transaction usable; so does one in a savepoint.
    let mut stream = sorted.clone().stream(&txn).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().name, "Abu");
    drop(stream);
    let savepoint = txn.begin().await.unwrap();
    new_guard(5, "Eve", "Moat").insert(&savepoint).await.unwrap();
    let stream = sorted.clone().stream(&savepoint).await.unwrap();
    assert_eq!(stream.count().await, 5);
    savepoint.rollback().await.unwrap();
    new_guard(6, "Fay", "Moat").insert(&txn).await.unwrap();
    txn.commit().await.unwrap();

    let found = sorted.all(&both.one).await.unwrap();
    assert_eq!(names(&found), ["Abu", "Bea", "Cem", "Dan", "Fay"]);
    both.assert_two_is_untouched().await;
}
