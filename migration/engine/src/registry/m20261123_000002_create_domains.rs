use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("domains")
                    .col(ColumnDef::new("hostname").text().not_null())
                    .col(ColumnDef::new("tenant_id").uuid().not_null())
                    .col(ColumnDef::new("inserted_at").timestamp_with_time_zone().not_null())
                    .primary_key(Index::create().name("domains_pkey").col("hostname"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("domains_tenant_id_fkey")
                            .from("domains", "tenant_id")
                            .to("tenants", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("domains_tenant_id_idx")
                    .table("domains")
                    .col("tenant_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("domains").to_owned()).await
    }
}
