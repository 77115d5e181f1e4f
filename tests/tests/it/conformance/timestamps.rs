//! Timestamps of rows, which the entities' behaviour sets.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use entity::{guard, shift};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, ConnectionTrait, EntityTrait,
    IntoActiveModel, QueryFilter, Set, TransactionTrait, sea_query::Expr,
};

use super::{
    TwoTenants, guard_id,
    two_tenants::{new_guard, new_shift, postgres, written},
};

/// Asserts that a row was stored between `earlier` and now.
#[track_caller]
fn assert_new(inserted_at: DateTime<Utc>, updated_at: DateTime<Utc>, earlier: DateTime<Utc>) {
    for at in [inserted_at, updated_at] {
        assert!((earlier..=Utc::now()).contains(&at), "{at} since {earlier}");
    }
}

#[tokio::test]
async fn every_way_to_insert_sets_both_timestamps() {
    let both = TwoTenants::new().await;
    let earlier = tenantry_registry::now();
    let by_hand = guard::ActiveModel {
        id: NotSet,
        name: Set("Dan".to_owned()),
        position: Set("Moat".to_owned()),
        inserted_at: NotSet,
        updated_at: NotSet,
    };
    let dan = by_hand.insert(&both.one).await.unwrap();
    assert_eq!(dan.id.get_version_num(), 7);
    assert_new(dan.inserted_at, dan.updated_at, earlier);
    let saved = guard::ActiveModel {
        name: Set("Eve".to_owned()),
        position: Set("Moat".to_owned()),
        ..Default::default()
    };
    let eve = saved.save(&both.one).await.unwrap();
    assert_new(eve.inserted_at.unwrap(), eve.updated_at.unwrap(), earlier);

    let many = [new_guard(4, "Fay", "Wall"), new_guard(5, "Gil", "Wall")];
    let many = guard::Entity::insert_many(many);
    for guard in many.exec_with_returning(&both.one).await.unwrap() {
        assert_new(guard.inserted_at, guard.updated_at, earlier);
    }
    let many = shift::Entity::insert_many([new_shift(14, 4, 20), new_shift(15, 5, 21)]);
    many.exec(&both.one).await.unwrap();
    let shifts = shift::Entity::find().filter(shift::Column::GuardId.gte(guard_id(4)));
    let shifts = shifts.all(&both.one).await.unwrap();
    assert_eq!(shifts.len(), 2);
    for shift in shifts {
        assert_new(shift.inserted_at, shift.updated_at, earlier);
    }
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn timestamps_are_stored_in_utc_to_the_microsecond() {
    let both = TwoTenants::new().await;
    let stored = new_guard(4, "Dan", "Moat").insert(&both.one).await.unwrap();
    assert_eq!(stored.inserted_at.nanosecond() % 1_000, 0);
    let found = guard::Entity::find_by_id(guard_id(4)).one(&both.one).await;
    assert_eq!(found.unwrap().as_ref(), Some(&stored));

    // The time zone of a session changes only how a time is displayed.
    let txn = both.one.begin().await.unwrap();
    txn.execute_unprepared("SET LOCAL TIME ZONE 'Asia/Kathmandu'").await.unwrap();
    let found = guard::Entity::find_by_id(guard_id(4)).one(&txn).await;
    assert_eq!(found.unwrap().as_ref(), Some(&stored));
    let there = new_guard(5, "Eve", "Moat").insert(&txn).await.unwrap();
    txn.commit().await.unwrap();

    let sql = r#"SELECT to_char("inserted_at" AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
        AS "text" FROM "tenant_1"."guards" WHERE "position" = 'Moat' ORDER BY "id""#;
    let rows = both.plain.query_all_raw(postgres(sql)).await.unwrap();
    let texts: Vec<String> = rows.iter().map(|row| row.try_get("", "text").unwrap()).collect();
    let expected = [stored, there].map(|row| row.inserted_at.format("%F %T%.6f").to_string());
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn no_update_moves_inserted_at() {
    let both = TwoTenants::new().await;
    let one = &both.one;
    let earlier = tenantry_registry::now();
    let abu = guard::Entity::find_by_id(guard_id(1));
    let mut abu = abu.require_one(one).await.unwrap().into_active_model();
    abu.position = Set("Moat".to_owned());
    abu.update(one).await.unwrap();
    let without_reading = guard::ActiveModel {
        id: Set(guard_id(2)),
        position: Set("Moat".to_owned()),
        inserted_at: Set(tenantry_registry::now()),
        ..Default::default()
    };
    without_reading.update(one).await.unwrap();
    guard::Entity::update_many()
        .set(guard::ActiveModel { position: Set("Moat".to_owned()), ..Default::default() })
        .filter(guard::Column::Id.eq(guard_id(3)))
        .exec(one)
        .await
        .unwrap();
    let statement = guard::Entity::update(guard::ActiveModel {
        id: Set(guard_id(3)),
        position: Set("Wall".to_owned()),
        ..Default::default()
    });
    statement.exec(one).await.unwrap();

    for guard in guard::Entity::find().all(one).await.unwrap() {
        assert_eq!(guard.inserted_at, written(), "{}", guard.name);
        assert_new(guard.updated_at, guard.updated_at, earlier);
    }

    // Column by column as well as from a model.
    shift::Entity::update_many()
        .col_expr(shift::Column::EndsAt, Expr::cust(r#""starts_at" + interval '1 hour'"#))
        .exec(one)
        .await
        .unwrap();
    let of_cem = shift::ActiveModel { guard_id: Set(guard_id(3)), ..Default::default() };
    let of_abu = shift::Column::GuardId.eq(guard_id(1));
    let given = shift::Entity::update_many().set(of_cem).filter(of_abu);
    given.exec(one).await.unwrap();
    for shift in shift::Entity::find().all(one).await.unwrap() {
        assert_eq!(shift.ends_at, shift.starts_at + TimeDelta::hours(1));
        assert_eq!(shift.inserted_at, written());
        if shift.guard_id == guard_id(3) {
            assert_new(shift.updated_at, shift.updated_at, earlier);
        }
    }
    both.assert_two_is_untouched().await;
}
