use std::collections::HashSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use tenantry_migrate::DynMigrator;
use tenantry_registry::{SchemaName, tenant};

/// The first of `base`, `base_2`, `base_3`, … that no tenant has or has had, and that is not the
/// schema of the shared tables.
///
/// Another creation may take it before the caller does, which the unique index of the registry
/// detects.
pub(super) async fn free_name(
    db: &impl ConnectionTrait,
    migrator: &DynMigrator,
    base: &SchemaName,
) -> Result<SchemaName, DbErr> {
    let (mut first, mut count) = (1, 16);
    loop {
        let names: Vec<_> = (first..first + count).flat_map(|n| base.numbered(n)).collect();
        let taken = tenant::Entity::find()
            .select_only()
            .column(tenant::Column::Schema)
            .filter(tenant::Column::Schema.is_in(names.clone()))
            .into_tuple::<SchemaName>()
            .all(db)
            .await?;
        let taken: HashSet<_> = taken.into_iter().collect();
        let is_free = |name: &SchemaName| !taken.contains(name) && !migrator.is_shared(name);
        if let Some(free) = names.into_iter().find(is_free) {
            return Ok(free);
        }
        // Many tenants with this slug have been dropped.
        first += count;
        count = (2 * count).min(4096);
    }
}
