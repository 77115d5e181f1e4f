//! Inserting, updating and deleting.

use entity::{guard, shift};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, ModelTrait, QueryFilter, Set,
    TryInsertResult,
    sea_query::{Expr, OnConflict},
};

use super::{
    TwoTenants, guard_id, on_day, shift_id, sqlstate,
    two_tenants::{names, new_guard, new_shift, written},
};

/// The guards of tenant one as pairs of text, to compare with what a bare connection finds.
fn pairs<const N: usize>(guards: [(&str, &str); N]) -> Vec<(String, String)> {
    let owned = guards.map(|(name, position)| (name.to_owned(), position.to_owned()));
    owned.into()
}

const ABU: (&str, &str) = ("Abu", "Gate");
const BEA: (&str, &str) = ("Bea", "Gate");
const CEM: (&str, &str) = ("Cem", "Tower");

#[tokio::test]
async fn inserting_adds_to_one_tenant() {
    let both = TwoTenants::new().await;
    // Key 4 is taken in the other tenant, and free in this one.
    let dan = new_guard(4, "Dan", "Moat").insert(&both.one).await.unwrap();
    let found = guard::Entity::find_by_id(guard_id(4)).one(&both.one).await;
    assert_eq!(found.unwrap(), Some(dan));
    let eve = guard::Entity::insert(new_guard(5, "Eve", "Wall"));
    let inserted = eve.exec(&both.one).await.unwrap();
    assert_eq!(inserted.last_insert_id, guard_id(5));

    let refused = new_guard(4, "Dan", "Moat").insert(&both.one).await;
    assert_eq!(sqlstate(&refused.unwrap_err()), "23505");
    // A shift cannot refer to guard 4 of the other tenant.
    guard::Entity::delete_by_id(guard_id(4)).exec(&both.one).await.unwrap();
    let orphan = new_shift(15, 4, 5).insert(&both.one).await;
    assert_eq!(sqlstate(&orphan.unwrap_err()), "23503");
    let shift = new_shift(15, 5, 5).insert(&both.one).await.unwrap();
    assert_eq!((shift.guard_id, shift.starts_at), (guard_id(5), on_day(5)));

    assert_eq!(both.guards_of_one().await, pairs([ABU, BEA, CEM, ("Eve", "Wall")]));
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn inserting_many_adds_to_one_tenant() {
    let both = TwoTenants::new().await;
    let four_and_five = || [new_guard(4, "Dan", "Moat"), new_guard(5, "Eve", "Wall")];
    let inserted = guard::Entity::insert_many(four_and_five()).exec(&both.one).await.unwrap();
    assert_eq!(inserted.last_insert_id, Some(guard_id(5)));
    let six = guard::Entity::insert_many([new_guard(6, "Fay", "Wall")]);
    let six = six.exec_with_returning(&both.one).await.unwrap();
    assert_eq!(names(&six), ["Fay"]);
    let seven = guard::Entity::insert_many([new_guard(7, "Gil", "Wall")]);
    let keys = seven.exec_with_returning_keys(&both.one).await.unwrap();
    assert_eq!(keys, [guard_id(7)]);
    let eight = guard::Entity::insert_many([new_guard(8, "Hal", "Wall")]);
    assert_eq!(eight.exec_without_returning(&both.one).await.unwrap(), 1);

    let expected = [
        ABU,
        BEA,
        CEM,
        ("Dan", "Moat"),
        ("Eve", "Wall"),
        ("Fay", "Wall"),
        ("Gil", "Wall"),
        ("Hal", "Wall"),
    ];
    assert_eq!(both.guards_of_one().await, pairs(expected));
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_conflict_is_one_with_a_row_of_the_same_tenant() {
    let both = TwoTenants::new().await;
    let unless_there = OnConflict::column(guard::Column::Id).do_nothing().to_owned();
    let abu = guard::Entity::insert(new_guard(1, "Ada", "Moat"));
    let abu = abu.on_conflict(unless_there.clone()).try_insert();
    let result = abu.exec(&both.one).await.unwrap();
    assert!(matches!(result, TryInsertResult::Conflicted), "{result:?}");
    let dan = guard::Entity::insert(new_guard(4, "Dan", "Moat"));
    let dan = dan.on_conflict(unless_there).try_insert();
    let result = dan.exec(&both.one).await.unwrap();
    assert!(matches!(result, TryInsertResult::Inserted(_)), "{result:?}");
    let ignored = guard::Entity::insert_many([new_guard(2, "Ben", "Moat")]);
    let result = ignored.on_conflict_do_nothing().exec(&both.one).await;
    let result = result.unwrap();
    assert!(matches!(result, TryInsertResult::Conflicted), "{result:?}");

    let moved = guard::Entity::insert(new_guard(3, "Cer", "Wall"))
        .on_conflict(
            OnConflict::column(guard::Column::Id).update_column(guard::Column::Position).to_owned(),
        )
        .exec_with_returning(&both.one)
        .await
        .unwrap();
    assert_eq!((&*moved.name, &*moved.position), ("Cem", "Wall"));
    assert_eq!(moved.inserted_at, written());

    assert_eq!(both.guards_of_one().await, pairs([ABU, BEA, ("Cem", "Wall"), ("Dan", "Moat")]));
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn updating_changes_one_tenant() {
    let both = TwoTenants::new().await;
    let abu = guard::Entity::find_by_id(guard_id(1));
    let abu = abu.require_one(&both.one).await.unwrap();
    let mut changed = abu.clone().into_active_model();
    changed.position = Set("Moat".to_owned());
    let updated = changed.update(&both.one).await.unwrap();
    assert_eq!((&*updated.name, &*updated.position), ("Abu", "Moat"));

    let without_reading = guard::ActiveModel {
        id: Set(guard_id(2)),
        name: Set("Ben".to_owned()),
        ..Default::default()
    };
    let saved = without_reading.save(&both.one).await.unwrap();
    assert_eq!(saved.position.unwrap(), "Gate");
    let of_two = new_guard(4, "Dan", "Moat").update(&both.one).await;
    assert!(
        matches!(of_two, Err(sea_orm::DbErr::RecordNotUpdated)),
        "key 4 is in the other tenant only: {of_two:?}"
    );

    assert_eq!(both.guards_of_one().await, pairs([("Abu", "Moat"), ("Ben", "Gate"), CEM]));
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn updating_many_changes_one_tenant() {
    let both = TwoTenants::new().await;
    let result = guard::Entity::update_many()
        .col_expr(guard::Column::Position, Expr::value("Moat"))
        .filter(guard::Column::Position.eq("Gate"))
        .exec(&both.one)
        .await
        .unwrap();
    assert_eq!(result.rows_affected, 2);
    let renamed = guard::Entity::update_many()
        .set(guard::ActiveModel { name: Set("Cid".to_owned()), ..Default::default() })
        .filter(guard::Column::Position.eq("Tower"))
        .exec_with_returning(&both.one)
        .await
        .unwrap();
    assert_eq!(names(&renamed), ["Cid"]);

    assert_eq!(
        both.guards_of_one().await,
        pairs([("Abu", "Moat"), ("Bea", "Moat"), ("Cid", "Tower")])
    );
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn deleting_removes_from_one_tenant() {
    let both = TwoTenants::new().await;
    let shift = shift::Entity::find_by_id(shift_id(11));
    let shift = shift.require_one(&both.one).await.unwrap();
    assert_eq!(shift.delete(&both.one).await.unwrap().rows_affected, 1);
    let of_two = guard::Entity::delete_by_id(guard_id(4));
    assert_eq!(of_two.exec(&both.one).await.unwrap().rows_affected, 0);
    // The shift of guard 2 goes with the guard.
    let bea = new_guard(2, "", "").delete(&both.one).await.unwrap();
    assert_eq!(bea.rows_affected, 1);
    let removed = guard::Entity::delete_by_id(guard_id(3));
    let removed = removed.exec_with_returning(&both.one).await.unwrap();
    assert_eq!(removed.unwrap().name, "Cem");

    assert_eq!(both.guards_of_one().await, pairs([ABU]));
    let left = [(shift_id(12), guard_id(1), 2)];
    assert_eq!(both.shifts_of_one().await, left);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn deleting_many_removes_from_one_tenant() {
    let both = TwoTenants::new().await;
    let result = shift::Entity::delete_many().exec(&both.one).await.unwrap();
    assert_eq!(result.rows_affected, 3, "of seven in both tenants");
    let removed = guard::Entity::delete_many()
        .filter(guard::Column::Position.eq("Gate"))
        .exec_with_returning(&both.one)
        .await
        .unwrap();
    assert_eq!(names(&removed), ["Abu", "Bea"]);
    assert_eq!(both.guards_of_one().await, pairs([CEM]));
    assert!(both.shifts_of_one().await.is_empty());
    both.assert_two_is_untouched().await;
}
