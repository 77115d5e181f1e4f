//! Enums of PostgreSQL whose type is in the tenant's schema.

use sea_orm::{
    ActiveEnum, ActiveModelTrait,
    ActiveValue::NotSet,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set, TransactionTrait,
    sea_query::{Expr, ExprTrait, OnConflict, extension::postgres::PgFunc},
};
use sea_orm_migration::prelude::{extension::postgres::Type, *};
use tenantry::{Config, NewTenant, Tenancy};

use super::{Chain, Migrations, first, ways::works_everywhere};
use crate::support::{TestDb, slug};

mod track {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
    #[sea_orm(rs_type = "String", db_type = "Enum", enum_name = "@tenant\".\"mood")]
    pub enum Mood {
        #[sea_orm(string_value = "happy")]
        Happy,
        #[sea_orm(string_value = "it's \"@tenant\"")]
        Odd,
        #[sea_orm(string_value = "sad")]
        Sad,
    }

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "tracks")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub mood: Mood,
        pub second: Option<Mood>,
        pub all: Vec<Mood>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use track::{Column, Entity, Model, Mood};

fn row(mood: Mood, second: Option<Mood>, all: Vec<Mood>) -> track::ActiveModel {
    track::ActiveModel { id: NotSet, mood: Set(mood), second: Set(second), all: Set(all) }
}

/// Made as the documentation says.
struct Tracks;

impl MigrationName for Tracks {
    fn name(&self) -> &str {
        "m2_tracks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tracks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let labels = ["happy", "it's \"@tenant\"", "sad"];
        manager.create_type(Type::create().as_enum("mood").values(labels).to_owned()).await?;
        let all = ColumnType::Array(std::sync::Arc::new(ColumnType::custom("mood")));
        let table = Table::create()
            .table("tracks")
            .col(ColumnDef::new("id").integer().auto_increment().primary_key())
            .col(ColumnDef::new("mood").custom("mood").not_null())
            .col(ColumnDef::new("second").custom("mood"))
            .col(ColumnDef::new_with_type("all", all).not_null())
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("tracks").to_owned()).await?;
        manager.drop_type(Type::drop().name("mood").to_owned()).await
    }
}

struct Seeds;

impl MigrationName for Seeds {
    fn name(&self) -> &str {
        "m3_seeds"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Seeds {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        row(Mood::Sad, None, vec![Mood::Odd, Mood::Sad]).insert(db).await?;
        let found = Entity::find().filter(Column::Mood.eq(Mood::Sad)).all(db).await?;
        assert_eq!(found[0].all, [Mood::Odd, Mood::Sad]);
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

fn migrations() -> Migrations {
    vec![first(), Box::new(Tracks), Box::new(Seeds)]
}

#[tokio::test]
async fn an_enum_of_the_tenants_schema_works_in_migrations_everywhere() {
    let probe = "SELECT concat(mood, ' ', \"all\"[1]) FROM tracks";
    works_everywhere(Chain::new(migrations), probe, &["sad it's \"@tenant\""]).await;
}

#[tokio::test]
async fn an_enum_of_the_tenants_schema_works_on_a_handle() {
    let db = TestDb::new().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain::new(migrations))).await.unwrap();
    for name in ["city", "town"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        let model = row(Mood::Happy, Some(Mood::Odd), vec![]).insert(&tenant).await.unwrap();
        assert_eq!(model, Model { id: 2, mood: Mood::Happy, second: Some(Mood::Odd), all: vec![] });
        let txn = tenant.begin().await.unwrap();
        let many =
            [row(Mood::Odd, None, vec![Mood::Happy]), row(Mood::Sad, Some(Mood::Sad), vec![])];
        Entity::insert_many(many).exec(&txn).await.unwrap();
        let mut changed: track::ActiveModel = model.into();
        (changed.mood, changed.all) = (Set(Mood::Sad), Set(vec![Mood::Sad, Mood::Happy]));
        changed.update(&txn).await.unwrap();
        txn.commit().await.unwrap();

        let ids = async |condition: sea_orm::sea_query::Expr| {
            let query = Entity::find().select_only().column(Column::Id).filter(condition);
            query.order_by_asc(Column::Id).into_tuple::<i32>().all(&tenant).await.unwrap()
        };
        assert_eq!(ids(Column::Mood.eq(Mood::Sad)).await, [1, 2, 4]);
        assert_eq!(ids(Column::Mood.is_in([Mood::Happy, Mood::Odd])).await, [3]);
        assert_eq!(ids(Column::Second.is_null()).await, [1, 3]);
        assert_eq!(ids(Column::Second.ne(Mood::Odd)).await, [4]);
        assert_eq!(ids(Column::All.eq(vec![Mood::Happy])).await, [3]);
        let any = PgFunc::any(Expr::col((Entity, Column::All)));
        assert_eq!(ids(ActiveEnum::as_enum(&Mood::Sad).eq(any)).await, [1, 2]);
        // In the order in which the type lists them.
        let moods = Entity::find().order_by_asc(Column::Mood).order_by_asc(Column::Id);
        let moods: Vec<Mood> = moods.all(&tenant).await.unwrap().iter().map(|it| it.mood).collect();
        assert_eq!(moods, [Mood::Odd, Mood::Sad, Mood::Sad, Mood::Sad]);
        let group: Vec<(Mood, i64)> = Entity::find()
            .select_only()
            .column(Column::Mood)
            .column_as(Column::Id.count(), "count")
            .group_by(Column::Mood)
            .order_by_asc(Column::Mood)
            .into_tuple()
            .all(&tenant)
            .await
            .unwrap();
        assert_eq!(group, [(Mood::Odd, 1), (Mood::Sad, 3)]);
        Entity::update_many()
            .col_expr(Column::Second, ActiveEnum::as_enum(&Mood::Happy))
            .filter(Column::Mood.eq(Mood::Odd))
            .exec(&tenant)
            .await
            .unwrap();
        let conflict = OnConflict::column(Column::Id).update_column(Column::Mood).to_owned();
        let again = track::ActiveModel { id: Set(3), ..row(Mood::Happy, None, vec![]) };
        Entity::insert(again).on_conflict(conflict).exec(&tenant).await.unwrap();
        let third = Entity::find_by_id(3).one(&tenant).await.unwrap().unwrap();
        assert_eq!((third.mood, third.second), (Mood::Happy, Some(Mood::Happy)));
    }
}
