//! Query results other than models: partial models, JSON, tuples, custom structs.

use chrono::{DateTime, Utc};
use entity::{guard, shift};
use sea_orm::{
    DerivePartialModel, EntityTrait, ExprTrait, FromQueryResult, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};
use serde_json::json;
use uuid::Uuid;

use super::{TwoTenants, guard_id, on_day, shift_id};

#[derive(Debug, PartialEq, DerivePartialModel)]
#[sea_orm(entity = "guard::Entity")]
struct Badge {
    id: Uuid,
    #[sea_orm(from_col = "name")]
    holder: String,
    #[sea_orm(from_expr = "Expr::col((guard::Entity, guard::Column::Position))")]
    place: String,
}

#[derive(Debug, PartialEq, DerivePartialModel)]
#[sea_orm(entity = "shift::Entity")]
struct Duty {
    starts_at: DateTime<Utc>,
    #[sea_orm(nested)]
    badge: Option<Badge>,
}

#[derive(Debug, PartialEq, FromQueryResult)]
struct Place {
    position: String,
    guards: i64,
}

fn badge(number: u128, holder: &str, place: &str) -> Badge {
    Badge { id: guard_id(number), holder: holder.to_owned(), place: place.to_owned() }
}

#[tokio::test]
async fn partial_models_are_of_one_tenant() {
    let both = TwoTenants::new().await;
    let badges =
        || guard::Entity::find().order_by_asc(guard::Column::Id).into_partial_model::<Badge>();
    assert_eq!(
        badges().all(&both.one).await.unwrap(),
        [badge(1, "Abu", "Gate"), badge(2, "Bea", "Gate"), badge(3, "Cem", "Tower")]
    );
    let page = badges().paginate(&both.one, 2).fetch_page(1).await.unwrap();
    assert_eq!(page, [badge(3, "Cem", "Tower")]);

    for (tenant, day, badge) in
        [(&both.one, 1, badge(1, "Abu", "Gate")), (&both.two, 11, badge(3, "Zoe", "Tower"))]
    {
        let found = shift::Entity::find_by_id(shift_id(11))
            .left_join(guard::Entity)
            .into_partial_model::<Duty>()
            .require_one(tenant)
            .await
            .unwrap();
        let (starts_at, badge) = (on_day(day), Some(badge));
        assert_eq!(found, Duty { starts_at, badge });
    }
}

#[tokio::test]
async fn json_tuples_and_structs_are_of_one_tenant() {
    let both = TwoTenants::new().await;
    let short = guard::Entity::find()
        .select_only()
        .columns([guard::Column::Name, guard::Column::Position])
        .filter(Expr::col((guard::Entity, guard::Column::Id)).lte(guard_id(2)))
        .order_by_asc(guard::Column::Id);
    let as_json = short.clone().into_json().all(&both.one).await.unwrap();
    let expected =
        [json!({"name": "Abu", "position": "Gate"}), json!({"name": "Bea", "position": "Gate"})];
    assert_eq!(as_json, expected);
    let tuples: Vec<(String, String)> = short.into_tuple().all(&both.two).await.unwrap();
    let expected = [("Xia", "Tower"), ("Yan", "Gate")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(tuples, expected);

    let with_shifts = shift::Entity::find_by_id(shift_id(12))
        .find_also_related(guard::Entity)
        .into_json()
        .one(&both.one)
        .await
        .unwrap();
    let (shift, guard) = with_shifts.unwrap();
    assert_eq!(shift["guard_id"], json!(guard_id(1)));
    assert_eq!(guard.unwrap()["name"], json!("Abu"));

    let places = guard::Entity::find()
        .select_only()
        .column(guard::Column::Position)
        .column_as(Expr::col(guard::Column::Id).count(), "guards")
        .group_by(guard::Column::Position)
        .order_by_asc(guard::Column::Position)
        .into_model::<Place>()
        .all(&both.one)
        .await
        .unwrap();
    let expected = [("Gate", 2), ("Tower", 1)]
        .map(|(position, guards)| Place { position: position.to_owned(), guards });
    assert_eq!(places, expected);
}
