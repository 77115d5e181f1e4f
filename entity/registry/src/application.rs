//! `registry.application`: the application that the registry's tenants belong to.

use sea_orm::entity::prelude::*;

/// The only row of the table.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(schema_name = "registry", table_name = "application")]
pub struct Model {
    /// Always true, so that there is at most one row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub only: bool,
    /// Name of the application.
    pub name: String,
}

impl ActiveModelBehavior for ActiveModel {}
