//! Shared by the examples: guards with their migration, and a database to try them in.

use std::error::Error;

use local_postgres::Server;
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf, prelude::*};
use tenantry::{Config, Tenancy};
use tenantry_migrate::TenantMigrator;

#[path = "../database/mod.rs"]
mod database;

pub mod guard {
    //! `guards`: the people that a tenant employs.

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "guards")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub position: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The migrations of a tenant's schema.
pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateGuards)]
    }
}

impl TenantMigrator for Migrator {}

struct CreateGuards;

impl MigrationName for CreateGuards {
    fn name(&self) -> &str {
        "m20261129_000001_create_guards"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateGuards {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("guards")
                    .col(ColumnDef::new("id").uuid().not_null())
                    .col(ColumnDef::new("name").text().not_null())
                    .col(ColumnDef::new("position").text().not_null())
                    .primary_key(Index::create().name("guards_pkey").col("id"))
                    .to_owned(),
            )
            .await
    }
}

/// A guard to be inserted.
pub fn new_guard(name: &str, position: &str) -> guard::ActiveModel {
    use sea_orm::Set;
    let id = Set(uuid::Uuid::now_v7());
    guard::ActiveModel { id, name: Set(name.to_owned()), position: Set(position.to_owned()) }
}

/// A tenancy without tenants. A local server lives as long as the second value.
pub async fn connect() -> Result<(Tenancy, Option<Server>), Box<dyn Error>> {
    let (url, server) = database::locate()?;
    let config = Config::new(url, Migrator);
    Tenancy::migrate_all(&config).await?;
    Ok((Tenancy::connect(&config).await?, server))
}
