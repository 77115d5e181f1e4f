//! `registry.tenants`: one row per tenant.

use sea_orm::entity::prelude::*;

use super::{SchemaName, Slug, TenantId};

/// One tenant: who it is, where its tables are, how far it is migrated.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "tenants")]
pub struct Model {
    /// Key; tenants sorted by it come in the order of their creation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    /// Name in URLs and commands. Without one the row is a spare.
    #[sea_orm(unique)]
    pub slug: Option<Slug>,
    /// Schema of the tenant's tables. Fixed at creation: a new slug does not change it.
    #[sea_orm(unique)]
    pub schema: SchemaName,
    /// Whether the tenant may be used.
    pub status: Status,
    /// Name of the newest migration applied to the schema; none when there is none yet.
    pub schema_version: Option<String>,
    /// Name of the newest applied migration that code without it cannot work with; none when there
    /// is none.
    pub contract_version: Option<String>,
    /// Most connections that the tenant holds at a time in each process; none for the default.
    pub max_connections: Option<i32>,
    /// How many of its statements may wait for a connection; none for the default.
    pub max_waiting: Option<i32>,
    /// What the application keeps about the tenant, as a JSON object.
    #[sea_orm(column_type = "JsonBinary")]
    pub metadata: Json,
    /// When the tenant was created.
    pub inserted_at: DateTimeUtc,
    /// When the row was last changed.
    pub updated_at: DateTimeUtc,
    /// How the last migration of this tenant failed, if it did: `migration`, `sqlstate`, `message`
    /// and the time, `at`.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub migration_error: Option<Json>,
    /// How often migrating the tenant has failed since it last succeeded.
    pub migration_attempts: i32,
    /// Host names of its own, besides its subdomain.
    #[sea_orm(has_many)]
    pub domains: HasMany<super::domain::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Whether a tenant may be used. Stored as text with a CHECK, not as an enum type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    /// In use.
    Active,
    /// Kept, but refused to everybody until it is resumed.
    Suspended,
    /// Deleted softly: can be restored until its grace ends.
    Archived,
    /// Provisioned ahead, waiting for a slug.
    Spare,
    /// Being dropped, in more than one transaction: part of its tables may be gone.
    Dropping,
}

impl Status {
    /// The state as it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
            Self::Spare => "spare",
            Self::Dropping => "dropping",
        }
    }
}
