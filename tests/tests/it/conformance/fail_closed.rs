//! Without a tenant nothing is read and nothing is written.

use entity::{guard, shift};
use futures_util::TryStreamExt;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, LoaderTrait, PaginatorTrait,
    StreamTrait, TransactionTrait, sea_query::Expr,
};

use super::{
    TwoTenants, guard_id, sqlstate,
    two_tenants::{new_guard, new_shift, postgres, refusal},
};

/// Asserts that PostgreSQL refused the statement because of the placeholder.
#[track_caller]
fn assert_refused<T>(what: &str, result: Result<T, DbErr>) {
    let Err(error) = result else {
        panic!("{what} was not refused");
    };
    let (code, message) = refusal(&error);
    assert!(["42P01", "3F000"].contains(&&*code), "{what}: {error}");
    assert!(message.contains("@tenant"), "{what}: {error}");
}

/// A table with the entity's name that an unqualified statement would find.
async fn bait(both: &TwoTenants) {
    let sql = r#"CREATE TABLE "public"."guards" (LIKE "tenant_1"."guards" INCLUDING ALL);
        CREATE TABLE "public"."shifts" (LIKE "tenant_1"."shifts" INCLUDING ALL);
        INSERT INTO "public"."guards" SELECT * FROM "tenant_1"."guards";"#;
    both.plain.execute_unprepared(sql).await.unwrap();
}

async fn assert_bait_is_untouched(both: &TwoTenants) {
    let sql = r#"SELECT count(*) FROM "public"."guards" WHERE "name" IN ('Abu', 'Bea', 'Cem')"#;
    let row = both.plain.query_one_raw(postgres(sql)).await.unwrap();
    assert_eq!(row.unwrap().try_get_by_index::<i64>(0).unwrap(), 3);
    assert_eq!(both.guards_of_one().await.len(), 3);
    assert_eq!(both.shifts_of_one().await.len(), 3);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_plain_connection_is_refused_every_read() {
    let both = TwoTenants::new().await;
    bait(&both).await;
    let plain = &both.plain;
    let guards = guard::Entity::find().all(&both.one).await.unwrap();

    assert_refused("all", guard::Entity::find().all(plain).await);
    let by_id = guard::Entity::find_by_id(guard_id(1));
    assert_refused("one", by_id.clone().one(plain).await);
    assert_refused("count", guard::Entity::find().count(plain).await);
    let pages = guard::Entity::find().paginate(plain, 2);
    assert_refused("a page", pages.fetch().await);
    let related = guard::Entity::find().find_with_related(shift::Entity);
    assert_refused("a join", related.all(plain).await);
    let many = guards.load_many(shift::Entity, plain).await;
    assert_refused("load_many", many);
    let loader = guard::Entity::load().with(shift::Entity);
    assert_refused("the entity loader", loader.all(plain).await);
    let stream = by_id.stream(plain).await.unwrap();
    assert_refused("a stream", stream.try_collect::<Vec<_>>().await);
    let raw = || postgres(r#"SELECT * FROM "@tenant"."guards""#);
    assert_refused("raw SQL", plain.query_all_raw(raw()).await);
    let stream = plain.stream_raw(raw()).await.unwrap();
    assert_refused("a raw stream", stream.try_collect::<Vec<_>>().await);
}

#[tokio::test]
async fn a_plain_connection_is_refused_every_write() {
    let both = TwoTenants::new().await;
    bait(&both).await;
    let plain = &both.plain;
    let dan = || new_guard(4, "Dan", "Moat");
    let abu = || new_guard(1, "Dan", "Moat");

    assert_refused("insert", dan().insert(plain).await);
    let many = guard::Entity::insert_many([dan()]).exec(plain).await;
    assert_refused("insert_many", many);
    assert_refused("update", abu().update(plain).await);
    assert_refused("save", abu().save(plain).await);
    let many = guard::Entity::update_many()
        .col_expr(guard::Column::Name, Expr::value("Dan"))
        .exec(plain)
        .await;
    assert_refused("update_many", many);
    assert_refused("delete", abu().delete(plain).await);
    let many = shift::Entity::delete_many().exec(plain).await;
    assert_refused("delete_many", many);
    let nested = guard::ActiveModel::builder()
        .set_name("Dan")
        .set_position("Moat")
        .add_shift(new_shift(14, 1, 20));
    assert_refused("nested save", nested.clone().save(plain).await);
    assert_refused("nested insert", nested.insert(plain).await);
    for sql in [
        r#"UPDATE "@tenant"."guards" SET "name" = 'Dan'"#,
        r#"TRUNCATE "@tenant"."shifts""#,
        r#"CREATE TABLE "@tenant"."towers" ()"#,
    ] {
        assert_refused(sql, plain.execute_unprepared(sql).await);
        assert_refused(sql, plain.execute_raw(postgres(sql)).await);
    }
    assert_bait_is_untouched(&both).await;
}

#[tokio::test]
async fn a_plain_transaction_is_refused_too() {
    let both = TwoTenants::new().await;
    bait(&both).await;
    // Also one in which the search path leads to a tenant.
    for search_path in ["public", "tenant_1"] {
        let begin = async || {
            let txn = both.plain.begin().await.unwrap();
            let sql = format!("SELECT set_config('search_path', '{search_path}', true)");
            txn.execute_raw(postgres(&sql)).await.unwrap();
            txn
        };
        let txn = begin().await;
        assert_refused("find", guard::Entity::find().all(&txn).await);
        drop(txn);
        let txn = begin().await;
        let inserted = new_guard(4, "Dan", "Moat").insert(&txn).await;
        assert_refused("insert", inserted);
        drop(txn);
        let txn = begin().await;
        let deleted = guard::Entity::delete_many().exec(&txn).await;
        assert_refused("delete", deleted);
    }
    assert_bait_is_untouched(&both).await;
}

#[tokio::test]
async fn a_schema_dropped_behind_our_back_is_not_replaced_by_another() {
    let both = TwoTenants::new().await;
    bait(&both).await;
    // Prepared before the schema goes.
    assert_eq!(guard::Entity::find().count(&both.one).await.unwrap(), 3);
    let drop_schema = r#"DROP SCHEMA "tenant_1" CASCADE"#;
    both.plain.execute_unprepared(drop_schema).await.unwrap();

    let one = &both.one;
    let results = [
        guard::Entity::find().count(one).await.map(|_| ()),
        guard::Entity::find().all(one).await.map(|_| ()),
        new_guard(4, "Dan", "Moat").insert(one).await.map(|_| ()),
        guard::Entity::delete_many().exec(one).await.map(|_| ()),
    ];
    for result in results {
        let (code, message) = refusal(&result.unwrap_err());
        assert!(["42P01", "3F000"].contains(&&*code), "{code} {message}");
        assert!(message.contains("tenant_1"), "{message}");
    }
    let txn = one.begin_with_search_path().await.unwrap();
    let bare = txn.query_one_raw(postgres("SELECT count(*) FROM guards"));
    assert_eq!(sqlstate(&bare.await.unwrap_err()), "42P01");
    drop(txn);
    assert_eq!(guard::Entity::find().count(&both.two).await.unwrap(), 4);
    both.assert_two_is_untouched().await;
}
