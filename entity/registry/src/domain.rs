//! `registry.domains`: host names of tenants.

use sea_orm::entity::prelude::*;

use crate::{Hostname, TenantId};

/// One host name and the tenant it belongs to.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "domains")]
pub struct Model {
    /// The host name, unique among all tenants.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hostname: Hostname,
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// When it was added.
    pub inserted_at: DateTimeUtc,
    /// The tenant that it belongs to, if loaded.
    #[sea_orm(belongs_to, from = "tenant_id", to = "id")]
    pub tenant: BelongsTo<super::tenant::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
