//! The jobs on entities of the same tables without a schema, found by `search_path`.

use std::sync::LazyLock;

use super::shop;

#[path = "work.rs"]
pub mod work;

/// The statements of the shop.
pub static SHOP: LazyLock<Vec<String>> = LazyLock::new(|| shop::texts(""));

pub mod guard {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "guards")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub position: String,
        pub inserted_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
        #[sea_orm(has_many)]
        pub shifts: HasMany<super::shift::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod shift {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shifts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub guard_id: Uuid,
        pub starts_at: DateTimeUtc,
        pub ends_at: DateTimeUtc,
        pub inserted_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
        #[sea_orm(belongs_to, from = "guard_id", to = "id")]
        pub guard: BelongsTo<super::guard::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}
