//! `shifts`: when a guard is on duty.

use sea_orm::{ActiveValue::Unchanged, Set, entity::prelude::*};
use serde::Serialize;

use tenantry_registry::{now, stamp};

/// One shift of one guard.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveEntityModel)]
#[sea_orm(schema_name = "@tenant", table_name = "shifts")]
pub struct Model {
    /// UUID of version 7, in the order of creation as far as the writers' clocks agree.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The guard on duty.
    pub guard_id: Uuid,
    /// Start of the shift.
    pub starts_at: DateTimeUtc,
    /// End of the shift (exclusive).
    pub ends_at: DateTimeUtc,
    /// When the shift was created.
    pub inserted_at: DateTimeUtc,
    /// When the shift was last changed.
    pub updated_at: DateTimeUtc,
    /// The guard on duty, if loaded.
    #[sea_orm(belongs_to, from = "guard_id", to = "id")]
    pub guard: BelongsTo<super::guard::Entity>,
}

#[async_trait::async_trait]
impl ActiveModelBehavior for ActiveModel {
    /// As for guards: sets the timestamps for `insert_many`; an update does not write `inserted_at`.
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
