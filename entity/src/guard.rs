//! `guards`: the people a tenant employs.

use sea_orm::{ActiveValue::Unchanged, Set, entity::prelude::*};
use serde::Serialize;

use tenantry_registry::{now, stamp};

/// One guard.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(schema_name = "@tenant", table_name = "guards")]
pub struct Model {
    /// UUID of version 7, in the order of creation as far as the writers' clocks agree.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Name, 1 to 200 characters.
    pub name: String,
    /// What the guard does, 1 to 200 characters.
    pub position: String,
    /// When the guard was created.
    pub inserted_at: DateTimeUtc,
    /// When the guard was last changed.
    pub updated_at: DateTimeUtc,
    /// The guard's shifts, if loaded.
    #[sea_orm(has_many)]
    pub shifts: HasMany<super::shift::Entity>,
}

#[async_trait::async_trait]
impl ActiveModelBehavior for ActiveModel {
    /// Sets the timestamps for `insert_many`, which does not call
    /// [`before_save`](Self::before_save). `inserted_at` is `Unchanged`: SeaORM writes that on
    /// insert, but not on update.
    fn new() -> Self {
        let now = now();
        Self {
            inserted_at: Unchanged(now),
            updated_at: Set(now),
            ..<Self as ActiveModelTrait>::default()
        }
    }

    async fn before_save<C: ConnectionTrait>(mut self, _: &C, insert: bool) -> Result<Self, DbErr> {
        stamp(&mut self.id, &mut self.inserted_at, &mut self.updated_at, insert);
        Ok(self)
    }
}
