//! `registry.aliases`: earlier slugs of tenants, which no other tenant gets until they expire.

use sea_orm::entity::prelude::*;

use crate::{Slug, TenantId};

/// An earlier slug and the tenant that has had it. A row that has expired has no effect.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "aliases")]
pub struct Model {
    /// The earlier slug.
    #[sea_orm(primary_key, auto_increment = false)]
    pub slug: Slug,
    /// The tenant that has had it.
    pub tenant_id: TenantId,
    /// Whether the slug still leads to the tenant. Otherwise it is only reserved.
    pub redirects: bool,
    /// Until when.
    pub expires_at: DateTimeUtc,
    /// When the tenant was renamed.
    pub inserted_at: DateTimeUtc,
    /// The tenant that has had it, if loaded.
    #[sea_orm(belongs_to, from = "tenant_id", to = "id")]
    pub tenant: BelongsTo<super::tenant::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
