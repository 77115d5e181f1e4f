//! `registry.api_keys`: keys of tenants and operators. Of the secret in a key only its hash is
//! stored.

use sea_orm::entity::prelude::*;

use crate::TenantId;

/// One key.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "api_keys")]
pub struct Model {
    /// Key of the row, in the order of creation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The part of the key that may be shown and by which it is found, such as
    /// `tnt_0123456789abcdef`.
    #[sea_orm(unique)]
    pub prefix: String,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// The tenant whose routes it opens; none for an operator's.
    pub tenant_id: Option<TenantId>,
    /// The scopes: `read`, `write`, `admin`.
    pub scopes: Vec<String>,
    /// Name for people, which logs and audit entries show.
    pub name: String,
    /// When it ends, if it does.
    pub expires_at: Option<DateTimeUtc>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<DateTimeUtc>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTimeUtc>,
    /// When it was created.
    pub inserted_at: DateTimeUtc,
    /// The tenant, if loaded.
    #[sea_orm(belongs_to, from = "tenant_id", to = "id")]
    pub tenant: BelongsTo<Option<super::tenant::Entity>>,
}

impl ActiveModelBehavior for ActiveModel {}
