//! Saving a guard together with its shifts.

use entity::{guard, shift};
use sea_orm::{
    EntityLoaderTrait, EntityTrait, IntoActiveModel, PaginatorTrait, Set, TransactionTrait,
};

use super::{
    TwoTenants, guard_id, on_day, shift_id, sqlstate,
    two_tenants::{ends_on_day, written},
};

fn shift_on(day: u32) -> shift::ActiveModelEx {
    shift::ActiveModel::builder().set_starts_at(on_day(day)).set_ends_at(ends_on_day(day))
}

/// A guard of tenant one with its shifts, to be changed.
async fn load(both: &TwoTenants, number: u128) -> guard::ActiveModelEx {
    let guard = guard::Entity::load()
        .filter_by_id(guard_id(number))
        .with(shift::Entity)
        .one(&both.one)
        .await
        .unwrap();
    guard.unwrap().into_active_model()
}

#[tokio::test]
async fn a_guard_is_inserted_with_its_shifts_into_one_tenant() {
    let both = TwoTenants::new().await;
    let earlier = tenantry_registry::now();
    let dan = guard::ActiveModel::builder()
        .set_name("Dan")
        .set_position("Moat")
        .add_shift(shift_on(21))
        .add_shift(shift_on(22))
        .insert(&both.one)
        .await
        .unwrap();
    assert_eq!(dan.shifts.len(), 2);
    let eve = guard::ActiveModel::builder()
        .set_name("Eve")
        .set_position("Moat")
        .add_shift(shift_on(23))
        .save(&both.one)
        .await
        .unwrap();
    let eve = eve.id.unwrap();
    // From the other end: a shift brings its guard.
    let shift = shift_on(24)
        .set_guard(guard::ActiveModel::builder().set_name("Fay").set_position("Moat"))
        .insert(&both.one)
        .await
        .unwrap();

    let stored = both.shifts_of_one().await;
    let new: Vec<_> = stored[3..].iter().map(|(_, guard, day)| (*guard, *day)).collect();
    assert_eq!(new, [(dan.id, 21), (dan.id, 22), (eve, 23), (shift.guard_id, 24)]);
    let fay = guard::Entity::find_by_id(shift.guard_id).one(&both.one).await;
    let fay = fay.unwrap().unwrap();
    assert_eq!(fay.name, "Fay");
    assert!(fay.inserted_at >= earlier && fay.updated_at >= earlier);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn shifts_are_changed_through_their_guard_in_one_tenant() {
    let both = TwoTenants::new().await;
    let mut abu = load(&both, 1).await;
    abu.position = Set("Moat".to_owned());
    abu.shifts[0].starts_at = Set(on_day(5));
    abu.shifts[0].ends_at = Set(ends_on_day(5));
    abu.add_shift(shift_on(6)).save(&both.one).await.unwrap();
    let stored = both.shifts_of_one().await;
    assert_eq!(
        stored[..3],
        [
            (shift_id(12), guard_id(1), 2),
            (shift_id(13), guard_id(2), 3),
            (shift_id(11), guard_id(1), 5)
        ]
    );
    assert_eq!((stored[3].1, stored[3].2), (guard_id(1), 6));
    let moved = shift::Entity::find_by_id(shift_id(11)).one(&both.one).await;
    let moved = moved.unwrap().unwrap();
    assert_eq!(moved.inserted_at, written());
    assert!(moved.updated_at > written());

    let mut bea = load(&both, 2).await;
    bea.shifts.replace_all([shift_on(7)]);
    bea.save(&both.one).await.unwrap();
    let of_bea: Vec<_> = both
        .shifts_of_one()
        .await
        .into_iter()
        .filter(|shift| shift.1 == guard_id(2))
        .map(|shift| shift.2)
        .collect();
    assert_eq!(of_bea, [7]);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_guard_is_deleted_with_its_shifts_from_one_tenant() {
    let both = TwoTenants::new().await;
    let deleted = load(&both, 1).await.delete(&both.one).await.unwrap();
    assert_eq!(deleted.rows_affected, 3);
    let bea = guard::Entity::find_by_id(guard_id(2));
    let bea = bea.require_one(&both.one).await.unwrap();
    let deleted = bea.cascade_delete(&both.one).await.unwrap();
    assert_eq!(deleted.rows_affected, 2);
    assert!(both.shifts_of_one().await.is_empty());
    assert_eq!(both.guards_of_one().await.len(), 1);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_nested_save_in_a_transaction_ends_with_it() {
    let both = TwoTenants::new().await;
    let dan = || {
        guard::ActiveModel::builder().set_name("Dan").set_position("Moat").add_shift(shift_on(21))
    };
    let txn = both.one.begin().await.unwrap();
    dan().save(&txn).await.unwrap();
    assert_eq!(shift::Entity::find().count(&txn).await.unwrap(), 4);
    txn.rollback().await.unwrap();
    assert_eq!(both.shifts_of_one().await.len(), 3);
    let txn = both.one.begin().await.unwrap();
    dan().insert(&txn).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(both.guards_of_one().await.len(), 4);
    assert_eq!(both.shifts_of_one().await.len(), 4);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_nested_save_that_fails_leaves_nothing() {
    let both = TwoTenants::new().await;
    let ends_before_it_starts =
        shift::ActiveModel::builder().set_starts_at(on_day(9)).set_ends_at(on_day(8));
    let error = guard::ActiveModel::builder()
        .set_name("Dan")
        .set_position("Moat")
        .add_shift(shift_on(7))
        .add_shift(ends_before_it_starts)
        .insert(&both.one)
        .await
        .unwrap_err();
    assert_eq!(sqlstate(&error), "23514");
    assert_eq!(both.guards_of_one().await.len(), 3);
    assert_eq!(both.shifts_of_one().await.len(), 3);
    // Only the transaction has failed, not the handle.
    let mut cem = load(&both, 3).await;
    cem.name = Set("Cid".to_owned());
    cem.add_shift(shift_on(7)).save(&both.one).await.unwrap();
    assert_eq!(both.guards_of_one().await[2].0, "Cid");
    assert_eq!(both.shifts_of_one().await.len(), 4);
    both.assert_two_is_untouched().await;
}
