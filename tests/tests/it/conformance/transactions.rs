//! Transactions, savepoints, and how they end.

use entity::guard;
use sea_orm::{
    AccessMode, ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IsolationLevel,
    PaginatorTrait, QueryOrder, QuerySelect, TransactionError, TransactionOptions,
    TransactionTrait,
    sea_query::{LockBehavior, LockType},
};

use super::{
    TwoTenants, guard_id, sqlstate,
    two_tenants::{names, new_guard, postgres},
};

/// Names of the guards of tenant one from the fourth on.
async fn new_names(both: &TwoTenants) -> Vec<String> {
    let all = both.guards_of_one().await;
    all.into_iter().skip(3).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_transaction_is_seen_when_committed_and_not_before() {
    let both = TwoTenants::new().await;
    let txn = both.one.begin().await.unwrap();
    new_guard(4, "Dan", "Moat").insert(&txn).await.unwrap();
    assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 4);
    assert_eq!(guard::Entity::find().count(&both.one).await.unwrap(), 3);
    txn.commit().await.unwrap();
    assert_eq!(new_names(&both).await, ["Dan"]);

    let txn = both.one.begin().await.unwrap();
    guard::Entity::delete_many().exec(&txn).await.unwrap();
    txn.rollback().await.unwrap();
    let txn = both.one.begin().await.unwrap();
    guard::Entity::delete_many().exec(&txn).await.unwrap();
    drop(txn);
    assert_eq!(guard::Entity::find().count(&both.one).await.unwrap(), 4);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_lock_is_on_the_row_of_one_tenant() {
    let both = TwoTenants::new().await;
    let locked = both.one.begin().await.unwrap();
    let abu = guard::Entity::find_by_id(guard_id(1)).lock_exclusive();
    assert_eq!(abu.require_one(&locked).await.unwrap().name, "Abu");
    // The row under the same key of the other tenant is free.
    let xia = guard::Entity::find_by_id(guard_id(1))
        .lock_with_behavior(LockType::Update, LockBehavior::Nowait);
    assert!(xia.clone().one(&both.two).await.unwrap().is_some());
    let refused = xia.one(&both.one).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "55P03");
}

#[tokio::test]
async fn an_inner_rollback_keeps_the_outer_writes() {
    let both = TwoTenants::new().await;
    let outer = both.one.begin().await.unwrap();
    new_guard(4, "Dan", "Moat").insert(&outer).await.unwrap();
    let inner = outer.begin().await.unwrap();
    new_guard(5, "Eve", "Moat").insert(&inner).await.unwrap();
    let innermost = inner.begin().await.unwrap();
    let taken = new_guard(5, "Eva", "Moat").insert(&innermost).await;
    assert_eq!(sqlstate(&taken.unwrap_err()), "23505");
    innermost.rollback().await.unwrap();
    // The savepoint has undone the failed statement: the transaction is still usable.
    assert_eq!(guard::Entity::find().count(&inner).await.unwrap(), 5);
    inner.rollback().await.unwrap();
    let dropped = outer.begin().await.unwrap();
    new_guard(6, "Fay", "Moat").insert(&dropped).await.unwrap();
    drop(dropped);
    let kept = outer.begin().await.unwrap();
    new_guard(7, "Gil", "Moat").insert(&kept).await.unwrap();
    kept.commit().await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(new_names(&both).await, ["Dan", "Gil"]);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn an_outer_rollback_discards_what_was_committed_inside() {
    let both = TwoTenants::new().await;
    let outer = both.one.begin().await.unwrap();
    let inner = outer.begin().await.unwrap();
    new_guard(4, "Dan", "Moat").insert(&inner).await.unwrap();
    inner.commit().await.unwrap();
    assert_eq!(guard::Entity::find().count(&outer).await.unwrap(), 4);
    outer.rollback().await.unwrap();
    assert!(new_names(&both).await.is_empty());
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_closure_commits_when_it_succeeds_and_rolls_back_when_it_fails() {
    let both = TwoTenants::new().await;
    let count = both
        .one
        .transaction::<_, u64, DbErr>(|txn| {
            Box::pin(async move {
                new_guard(4, "Dan", "Moat").insert(txn).await?;
                let failed = txn
                    .transaction::<_, (), DbErr>(|inner| {
                        Box::pin(async move {
                            new_guard(5, "Eve", "Moat").insert(inner).await?;
                            Err(DbErr::Custom("changed my mind".to_owned()))
                        })
                    })
                    .await;
                assert!(matches!(failed, Err(TransactionError::Transaction(_))));
                guard::Entity::find().count(txn).await
            })
        })
        .await
        .unwrap();
    assert_eq!(count, 4);

    let failed = both
        .one
        .transaction::<_, (), DbErr>(|txn| {
            Box::pin(async move {
                guard::Entity::delete_many().exec(txn).await?;
                new_guard(6, "Fay", "Moat").insert(txn).await?;
                new_guard(6, "Fay", "Moat").insert(txn).await?;
                Ok(())
            })
        })
        .await;
    let Err(TransactionError::Transaction(error)) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(sqlstate(&error), "23505", "the closure's own error");
    assert_eq!(new_names(&both).await, ["Dan"]);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_read_only_transaction_refuses_to_write() {
    let both = TwoTenants::new().await;
    let read_only = Some(AccessMode::ReadOnly);
    let options = TransactionOptions { access_mode: read_only, ..Default::default() };
    for txn in [
        both.one.begin_with_config(None, read_only).await.unwrap(),
        both.one.begin_with_options(options).await.unwrap(),
    ] {
        assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 3);
        let error = new_guard(4, "Dan", "Moat").insert(&txn).await.unwrap_err();
        assert_eq!(sqlstate(&error), "25006");
        txn.rollback().await.unwrap();
    }
    let failed = both
        .one
        .transaction_with_config::<_, _, DbErr>(
            |txn| Box::pin(new_guard(4, "Dan", "Moat").insert(txn)),
            None,
            read_only,
        )
        .await;
    let Err(TransactionError::Transaction(error)) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(sqlstate(&error), "25006");

    // A savepoint may be read-only in a transaction that is not.
    let outer = both.one.begin().await.unwrap();
    let inner = outer.begin_with_config(None, read_only).await.unwrap();
    let error = new_guard(4, "Dan", "Moat").insert(&inner).await.unwrap_err();
    assert_eq!(sqlstate(&error), "25006");
    inner.rollback().await.unwrap();
    let failed = outer
        .transaction_with_config::<_, _, DbErr>(
            |txn| Box::pin(new_guard(4, "Dan", "Moat").insert(txn)),
            None,
            read_only,
        )
        .await;
    assert!(failed.is_err(), "{failed:?}");
    new_guard(5, "Eve", "Moat").insert(&outer).await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(new_names(&both).await, ["Eve"]);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn the_isolation_level_asked_for_is_the_one_given() {
    let both = TwoTenants::new().await;
    let level = Some(IsolationLevel::RepeatableRead);
    let txn = both.one.begin_with_config(level, None).await.unwrap();
    let shown = txn.query_one_raw(postgres("SHOW transaction_isolation"));
    let shown = shown.await.unwrap().unwrap();
    let shown: String = shown.try_get_by_index(0).unwrap();
    assert_eq!(shown, "repeatable read");

    assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 3);
    new_guard(4, "Dan", "Moat").insert(&both.one).await.unwrap();
    let unchanged = guard::Entity::find().order_by_asc(guard::Column::Id);
    let unchanged = unchanged.all(&txn).await.unwrap();
    assert_eq!(names(&unchanged), ["Abu", "Bea", "Cem"]);
    txn.commit().await.unwrap();
    assert_eq!(guard::Entity::find().count(&both.one).await.unwrap(), 4);
}
