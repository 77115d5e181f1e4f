use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let origins = ColumnDef::new("cors_origins")
            .array(ColumnType::Text)
            .not_null()
            .default(Expr::cust("'{}'"))
            .to_owned();
        let longest = ColumnDef::new("max_body_bytes")
            .big_integer()
            .check(("tenants_max_body_bytes_check", Expr::col("max_body_bytes").gte(1)))
            .to_owned();
        let table =
            Table::alter().table("tenants").add_column(origins).add_column(longest).to_owned();
        manager.alter_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("tenants")
            .drop_column("max_body_bytes")
            .drop_column("cors_origins")
            .to_owned();
        manager.alter_table(table).await
    }
}
