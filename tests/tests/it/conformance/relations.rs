//! Joins, related and linked entities, loaders.

use entity::{guard, shift};
use sea_orm::{
    ColumnTrait, Condition, EntityLoaderTrait, EntityTrait, ExprTrait, JoinType, Linked,
    LoaderTrait, ModelTrait, QueryFilter, QueryOrder, QuerySelect, RelationDef, RelationTrait,
    sea_query::{Expr, IntoCondition},
};
use tenantry::Tenant;

use super::{
    TwoTenants, guard_id, shift_id,
    two_tenants::{names, on_day},
};

/// From a guard to the others at the same position: the table of guards joined to itself.
struct Colleagues;

impl Linked for Colleagues {
    type FromEntity = guard::Entity;
    type ToEntity = guard::Entity;

    fn link(&self) -> Vec<RelationDef> {
        let colleagues = guard::Entity::belongs_to(guard::Entity)
            .from(guard::Column::Position)
            .to(guard::Column::Position)
            .on_condition(|guard, other| {
                Expr::col((guard, guard::Column::Id))
                    .ne(Expr::col((other, guard::Column::Id)))
                    .into_condition()
            });
        vec![colleagues.into()]
    }
}

/// From a shift to the colleagues of the guard on duty: two hops.
struct Substitutes;

impl Linked for Substitutes {
    type FromEntity = shift::Entity;
    type ToEntity = guard::Entity;

    fn link(&self) -> Vec<RelationDef> {
        let mut hops = vec![shift::Relation::Guard.def()];
        hops.extend(Colleagues.link());
        hops
    }
}

async fn all_guards(tenant: &Tenant) -> Vec<guard::Model> {
    let sorted = guard::Entity::find().order_by_asc(guard::Column::Id);
    sorted.all(tenant).await.unwrap()
}

async fn all_shifts(tenant: &Tenant) -> Vec<shift::Model> {
    let sorted = shift::Entity::find().order_by_asc(shift::Column::Id);
    sorted.all(tenant).await.unwrap()
}

#[tokio::test]
async fn joins_stay_in_one_tenant() {
    let both = TwoTenants::new().await;
    let select =
        || guard::Entity::find().order_by_asc(guard::Column::Id).order_by_asc(shift::Column::Id);
    let inner = select().inner_join(shift::Entity).all(&both.one).await;
    assert_eq!(names(&inner.unwrap()), ["Abu", "Abu", "Bea"]);
    let left = select().left_join(shift::Entity).all(&both.one).await;
    assert_eq!(names(&left.unwrap()), ["Abu", "Abu", "Bea", "Cem"]);
    let off_duty = select().left_join(shift::Entity).filter(shift::Column::Id.is_null());
    assert_eq!(names(&off_duty.all(&both.one).await.unwrap()), ["Cem"]);
    let reverse = select().reverse_join(shift::Entity).all(&both.two).await;
    assert_eq!(names(&reverse.unwrap()), ["Yan", "Zoe", "Zoe", "Wim"]);

    let aliased = guard::Entity::find()
        .join_as(JoinType::InnerJoin, guard::Relation::Shift.def(), "early")
        .join_as(JoinType::InnerJoin, guard::Relation::Shift.def(), "late")
        .filter(
            Expr::col(("early", shift::Column::StartsAt))
                .lt(Expr::col(("late", shift::Column::StartsAt))),
        );
    assert_eq!(names(&aliased.clone().all(&both.one).await.unwrap()), ["Abu"]);
    assert_eq!(names(&aliased.all(&both.two).await.unwrap()), ["Zoe"]);

    let on_duty =
        guard::Entity::find().has_related(shift::Entity, shift::Column::StartsAt.eq(on_day(3)));
    assert_eq!(names(&on_duty.clone().all(&both.one).await.unwrap()), ["Bea"]);
    assert!(on_duty.all(&both.two).await.unwrap().is_empty());
}

#[tokio::test]
async fn related_entities_come_from_the_same_tenant() {
    let both = TwoTenants::new().await;
    let with_shifts = guard::Entity::find()
        .find_with_related(shift::Entity)
        .order_by_asc(guard::Column::Id)
        .order_by_asc(shift::Column::Id)
        .all(&both.one)
        .await
        .unwrap();
    let found: Vec<_> = with_shifts
        .iter()
        .map(|(guard, shifts)| {
            let ids: Vec<_> = shifts.iter().map(|shift| shift.id).collect();
            (guard.name.as_str(), ids)
        })
        .collect();
    assert_eq!(
        found,
        [("Abu", vec![shift_id(11), shift_id(12)]), ("Bea", vec![shift_id(13)]), ("Cem", vec![])]
    );

    let also =
        shift::Entity::find().find_also_related(guard::Entity).order_by_asc(shift::Column::Id);
    let on_duty = |found: Vec<(shift::Model, Option<guard::Model>)>| -> Vec<String> {
        let guards = found.into_iter().map(|(_, guard)| guard.unwrap().name);
        guards.collect()
    };
    assert_eq!(on_duty(also.clone().all(&both.one).await.unwrap()), ["Abu", "Abu", "Bea"]);
    assert_eq!(on_duty(also.all(&both.two).await.unwrap()), ["Zoe", "Yan", "Zoe", "Wim"]);
    let paired = shift::Entity::find_by_id(shift_id(11)).find_both_related(guard::Entity);
    let (shift, guard) = paired.require_one(&both.one).await.unwrap();
    assert_eq!((shift.starts_at, &*guard.name), (on_day(1), "Abu"));

    let abu = guard::Entity::find_by_id(guard_id(1));
    let abu = abu.require_one(&both.one).await.unwrap();
    let shifts = abu.find_related(shift::Entity).all(&both.one).await;
    assert_eq!(shifts.unwrap().len(), 2);
}

#[tokio::test]
async fn linked_entities_and_self_joins_stay_in_one_tenant() {
    let both = TwoTenants::new().await;
    let colleagues = guard::Entity::find()
        .find_also_linked(Colleagues)
        .order_by_asc(guard::Column::Id)
        .all(&both.one)
        .await
        .unwrap();
    let pairs: Vec<_> = colleagues
        .iter()
        .map(|(guard, other)| (&*guard.name, other.as_ref().map(|other| &*other.name)))
        .collect();
    assert_eq!(pairs, [("Abu", Some("Bea")), ("Bea", Some("Abu")), ("Cem", None)]);

    let substitutes = shift::Entity::find()
        .find_with_linked(Substitutes)
        .order_by_asc(shift::Column::Id)
        .all(&both.one)
        .await
        .unwrap();
    let found: Vec<_> = substitutes.iter().map(|(_, guards)| names(guards)).collect();
    assert_eq!(found, [["Bea"], ["Bea"], ["Abu"]]);

    let shift = shift::Entity::find_by_id(shift_id(13));
    let shift = shift.require_one(&both.one).await.unwrap();
    let found = shift.find_linked(Substitutes).all(&both.one).await.unwrap();
    assert_eq!(names(&found), ["Abu"]);

    let self_join = guard::Entity::find()
        .join_as(JoinType::InnerJoin, Colleagues.link().remove(0), "other")
        .filter(Condition::all().add(Expr::col(("other", guard::Column::Name)).eq("Xia")));
    assert!(self_join.clone().all(&both.one).await.unwrap().is_empty());
    assert_eq!(names(&self_join.all(&both.two).await.unwrap()), ["Zoe"]);
}

#[tokio::test]
async fn loaders_load_from_the_same_tenant() {
    let both = TwoTenants::new().await;
    let guards = all_guards(&both.one).await;
    let shifts = guards.load_many(shift::Entity, &both.one).await.unwrap();
    let counts: Vec<_> = shifts.iter().map(Vec::len).collect();
    assert_eq!(counts, [2, 1, 0]);
    let late = shift::Entity::find().filter(shift::Column::StartsAt.gt(on_day(1)));
    let late = guards.load_many(late, &both.one).await.unwrap();
    assert_eq!(late[0].len(), 1);

    for (tenant, expected) in
        [(&both.one, vec!["Abu", "Abu", "Bea"]), (&both.two, vec!["Zoe", "Yan", "Zoe", "Wim"])]
    {
        let shifts = all_shifts(tenant).await;
        let guards = shifts.load_one(guard::Entity, tenant).await.unwrap();
        let guards: Vec<_> = guards.into_iter().map(Option::unwrap).collect();
        assert_eq!(names(&guards), expected);
    }
}

#[tokio::test]
async fn the_entity_loader_loads_from_the_same_tenant() {
    let both = TwoTenants::new().await;
    let guards = guard::Entity::load()
        .with(shift::Entity)
        .order_by_asc(guard::Column::Id)
        .all(&both.one)
        .await
        .unwrap();
    let found: Vec<_> = guards.iter().map(|guard| (&*guard.name, guard.shifts.len())).collect();
    assert_eq!(found, [("Abu", 2), ("Bea", 1), ("Cem", 0)]);

    for (tenant, name, day) in [(&both.one, "Abu", 1), (&both.two, "Zoe", 11)] {
        let shift = shift::Entity::load()
            .filter_by_id(shift_id(11))
            .with(guard::Entity)
            .one(tenant)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(shift.starts_at, on_day(day));
        assert_eq!(shift.guard.unwrap().name, name);
    }

    let colleagues_shifts = shift::Entity::load()
        .filter_by_id(shift_id(12))
        .with((guard::Entity, shift::Entity))
        .one(&both.one)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(colleagues_shifts.guard.unwrap().shifts.len(), 2);

    let pages = guard::Entity::load()
        .with(shift::Entity)
        .order_by_asc(guard::Column::Id)
        .paginate(&both.one, 2);
    assert_eq!(pages.num_items().await.unwrap(), 3);
    assert_eq!(pages.fetch_page(1).await.unwrap()[0].name, "Cem");
}
