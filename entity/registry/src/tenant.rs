//! `registry.tenants`: one row per tenant, also after it has been dropped.
//!
//! The row of a dropped tenant keeps the name of its schema, which is unique. No other tenant ever
//! gets a schema of this name, so a late statement of the dropped one fails instead of reaching its
//! successor.

use sea_orm::{QueryFilter, Select, entity::prelude::*, sea_query::Expr};

use crate::{SchemaName, Slug, TenantId};

/// One tenant.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "tenants")]
pub struct Model {
    /// Key, in the order of creation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    /// Name in URLs and commands, unique among the tenants that have not been dropped. Without one
    /// the row is a spare.
    pub slug: Option<Slug>,
    /// Schema of the tenant's tables. Fixed at creation: a new slug does not change it. Unique
    /// among all tenants there have ever been.
    #[sea_orm(unique)]
    pub schema: SchemaName,
    /// Whether the tenant may be used.
    pub status: Status,
    /// Why the tenant is suspended, for operators. An archived tenant keeps the reason.
    pub status_reason: Option<String>,
    /// When the tenant was last suspended, resumed, archived or restored.
    pub status_since: Option<DateTimeUtc>,
    /// The status that an archived tenant had before; none for active.
    pub status_before: Option<Status>,
    /// Until when the data of an archived tenant is kept.
    pub purge_after: Option<DateTimeUtc>,
    /// Whether statements of the tenant may only read.
    pub read_only: bool,
    /// Name of the newest migration applied to the schema before which none is missing, for the
    /// program that applied it; none when there is none yet.
    pub schema_version: Option<String>,
    /// Names of all migrations applied to the schema, sorted. They count only if
    /// `schema_version` is one of them: a version that was set by hand is believed by itself.
    pub migrations: Vec<String>,
    /// Those of them that code without them cannot work with, sorted.
    pub breaking: Vec<String>,
    /// Most connections that the tenant holds at a time in each process; none for the default.
    pub max_connections: Option<i32>,
    /// How many of its statements may wait for a connection; none for the default.
    pub max_waiting: Option<i32>,
    /// Longest request body of the tenant in bytes; none for the default.
    pub max_body_bytes: Option<i64>,
    /// Origins whose pages may call the tenant from a browser, sorted.
    pub cors_origins: Vec<String>,
    /// A JSON object with the display name, the tags, and data of the application.
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
    /// When the tenant was dropped, if it was.
    pub dropped_at: Option<DateTimeUtc>,
    /// Who dropped it, or started to.
    pub dropped_by: Option<String>,
    /// Host names in addition to the subdomain.
    #[sea_orm(has_many)]
    pub domains: HasMany<super::domain::Entity>,
    /// Earlier slugs.
    #[sea_orm(has_many)]
    pub aliases: HasMany<super::alias::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// All rows but those of dropped tenants.
    ///
    /// The condition is a literal, not a parameter, so that PostgreSQL can use the unique index on
    /// the slug.
    #[must_use]
    pub fn find_living() -> Select<Self> {
        Self::find().filter(Expr::cust(r#""tenants"."status" <> 'dropped'"#))
    }
}

/// Status of a tenant. Stored as text with a CHECK, not as an enum type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    /// In use.
    Active,
    /// Refused until it is resumed.
    Suspended,
    /// Soft-deleted: refused, but can be restored.
    Archived,
    /// A spare: provisioned in advance, without a slug.
    Spare,
    /// Being dropped: some of its tables may be gone.
    Dropping,
    /// Dropped: the row remains so that the name of the schema is not used again.
    Dropped,
}

impl Status {
    /// Statuses of tenants whose tables may be gone.
    pub const GONE: [Self; 2] = [Self::Dropping, Self::Dropped];

    /// The status as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Archived => "archived",
            Self::Spare => "spare",
            Self::Dropping => "dropping",
            Self::Dropped => "dropped",
        }
    }
}
