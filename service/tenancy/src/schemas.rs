use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QuerySelect};
use tenantry_registry::tenant;

/// The names of all tenants' schemas. The set only grows, since the name of a dropped schema is not
/// used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Schemas(Arc<RwLock<HashSet<Box<str>>>>);

impl Schemas {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    pub(super) fn add(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.into());
    }

    /// Adds the schemas in the registry.
    pub(super) async fn load(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let names = tenant::Entity::find()
            .select_only()
            .column(tenant::Column::Schema)
            .into_tuple::<String>()
            .all(db)
            .await?;
        let names = names.into_iter().map(Box::from);
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(names);
        Ok(())
    }
}
