//! `guards`: the people a tenant employs.

use sea_orm::{ActiveValue::Unchanged, Set, entity::prelude::*};
use serde::Serialize;

use tenantry_registry::{now, stamp};

/// One guard.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(schema_name = "@tenant", table_name = "guards")]
pub struct Model {
    /// UUID of version 7: guards sorted by it come in the order of their creation, as far as the
    /// clocks of all writers agree.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Name, 1 to 200 characters.
    pub name: String,
    /// What the guard does, 1 to 200 characters.
    pub position: String,
    /// When the guard was stored; set once.
    pub inserted_at: DateTimeUtc,
    /// When the guard was last changed.
    pub updated_at: DateTimeUtc,
    /// The guard's shifts, when loaded.
    #[sea_orm(has_many)]
    pub shifts: HasMany<super::shift::Entity>,
}

#[async_trait::async_trait]
impl ActiveModelBehavior for ActiveModel {
    /// The timestamps are filled in here for the sake of `insert_many`, which does not call
    /// [`before_save`](Self::before_save). `inserted_at` is `Unchanged`, not `Set`: SeaORM writes
    /// both on insert, but only `Set` on update, so it stays when a whole model is written.
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
