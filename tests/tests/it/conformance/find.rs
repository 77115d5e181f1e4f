//! Finding, counting and paging.

use entity::guard::{self, Column};
use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    SelectExt,
};

use super::{TwoTenants, guard_id, two_tenants::names};

#[tokio::test]
async fn finding_sees_the_guards_of_one_tenant() {
    let both = TwoTenants::new().await;
    let all = guard::Entity::find().order_by_asc(Column::Name);
    let of_one = all.clone().all(&both.one).await.unwrap();
    assert_eq!(names(&of_one), ["Abu", "Bea", "Cem"]);
    let of_two = all.all(&both.two).await.unwrap();
    assert_eq!(names(&of_two), ["Wim", "Xia", "Yan", "Zoe"]);

    let by_id = guard::Entity::find_by_id(guard_id(1));
    let first = by_id.clone().one(&both.one).await.unwrap().unwrap();
    assert_eq!((&*first.name, &*first.position), ("Abu", "Gate"));
    assert_eq!(
        by_id.require_one(&both.two).await.unwrap().name,
        "Xia",
        "the same key is another guard there"
    );
    let strange = guard::Entity::find_by_id(guard_id(4));
    assert_eq!(strange.one(&both.one).await.unwrap(), None);
}

#[tokio::test]
async fn filters_orders_limits_and_groups_stay_in_one_tenant() {
    let both = TwoTenants::new().await;
    let at_gate =
        guard::Entity::find().filter(Column::Position.eq("Gate")).order_by_desc(Column::Name);
    let found = at_gate.clone().all(&both.one).await.unwrap();
    assert_eq!(names(&found), ["Bea", "Abu"]);
    let found = at_gate.limit(1).offset(1).all(&both.one).await.unwrap();
    assert_eq!(names(&found), ["Abu"]);

    let with_a = guard::Entity::find().filter(Column::Name.like("%a%"));
    assert_eq!(names(&with_a.all(&both.one).await.unwrap()), ["Bea"]);
    let of_two = guard::Entity::find().filter(Column::Name.is_in(["Xia", "Yan", "Zoe", "Wim"]));
    assert!(of_two.all(&both.one).await.unwrap().is_empty());

    let crowded: Vec<(String, i64)> = guard::Entity::find()
        .select_only()
        .column(Column::Position)
        .column_as(Column::Id.count(), "guards")
        .group_by(Column::Position)
        .having(Column::Id.count().gt(1))
        .into_tuple()
        .all(&both.one)
        .await
        .unwrap();
    assert_eq!(crowded, [("Gate".to_owned(), 2)]);

    let positions: Vec<String> = guard::Entity::find()
        .select_only()
        .column(Column::Position)
        .distinct()
        .order_by_asc(Column::Position)
        .into_tuple()
        .all(&both.one)
        .await
        .unwrap();
    assert_eq!(positions, ["Gate", "Tower"]);
}

#[tokio::test]
async fn count_and_exists_are_about_one_tenant() {
    let both = TwoTenants::new().await;
    let towers = guard::Entity::find().filter(Column::Position.eq("Tower"));
    let moat = guard::Entity::find().filter(Column::Position.eq("Moat"));
    for (tenant, all, in_tower, has_moat) in [(&both.one, 3, 1, false), (&both.two, 4, 2, true)] {
        assert_eq!(guard::Entity::find().count(tenant).await.unwrap(), all);
        assert_eq!(towers.clone().count(tenant).await.unwrap(), in_tower);
        assert_eq!(moat.clone().exists(tenant).await.unwrap(), has_moat);
    }
}

#[tokio::test]
async fn pages_run_through_one_tenant() {
    let both = TwoTenants::new().await;
    let mut pages = guard::Entity::find().order_by_asc(Column::Id).paginate(&both.one, 2);
    let total = pages.num_items_and_pages().await.unwrap();
    assert_eq!((total.number_of_items, total.number_of_pages), (3, 2));
    assert_eq!(names(&pages.fetch_page(1).await.unwrap()), ["Cem"]);

    let mut seen = Vec::new();
    while let Some(page) = pages.fetch_and_next().await.unwrap() {
        seen.extend(page);
    }
    assert_eq!(names(&seen), ["Abu", "Bea", "Cem"]);
}

#[tokio::test]
async fn cursors_run_through_one_tenant() {
    let both = TwoTenants::new().await;
    let mut cursor = guard::Entity::find().cursor_by(Column::Id);
    cursor.after(guard_id(1)).first(2);
    assert_eq!(
        names(&cursor.all(&both.one).await.unwrap()),
        ["Bea", "Cem"],
        "not the guard with key 4 of the other tenant"
    );
    let mut cursor = guard::Entity::find().cursor_by((Column::Position, Column::Id));
    cursor.before(("Tower", guard_id(3))).last(1);
    assert_eq!(names(&cursor.all(&both.one).await.unwrap()), ["Bea"]);
    let mut backwards = guard::Entity::find().cursor_by(Column::Id);
    backwards.desc().first(1);
    assert_eq!(names(&backwards.all(&both.one).await.unwrap()), ["Cem"]);
    assert_eq!(names(&backwards.all(&both.two).await.unwrap()), ["Wim"]);
}
