use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TENANTS: &str = "tenants";

/// The new columns. All of them are null or have a default, as older programs insert rows too.
const COLUMNS: [&str; 5] =
    ["status_reason", "status_since", "status_before", "purge_after", "read_only"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut table = Table::alter();
        table
            .table(TENANTS)
            .add_column(ColumnDef::new("status_reason").text())
            .add_column(ColumnDef::new("status_since").timestamp_with_time_zone())
            .add_column(ColumnDef::new("status_before").text().check((
                "tenants_status_before_check",
                Expr::col("status_before").is_in(["active", "suspended"]),
            )))
            .add_column(ColumnDef::new("purge_after").timestamp_with_time_zone())
            .add_column(ColumnDef::new("read_only").boolean().not_null().default(false));
        manager.alter_table(table).await?;
        manager.create_table(aliases()).await?;
        manager
            .create_index(
                Index::create()
                    .name("aliases_tenant_id_idx")
                    .table("aliases")
                    .col("tenant_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("aliases").to_owned()).await?;
        let mut table = Table::alter();
        table.table(TENANTS);
        for column in COLUMNS {
            table.drop_column(column);
        }
        manager.alter_table(table).await
    }
}

fn aliases() -> TableCreateStatement {
    Table::create()
        .table("aliases")
        .col(ColumnDef::new("slug").text().not_null())
        .col(ColumnDef::new("tenant_id").uuid().not_null())
        .col(ColumnDef::new("redirects").boolean().not_null())
        .col(ColumnDef::new("expires_at").timestamp_with_time_zone().not_null())
        .col(ColumnDef::new("inserted_at").timestamp_with_time_zone().not_null())
        .primary_key(Index::create().name("aliases_pkey").col("slug"))
        .foreign_key(
            ForeignKey::create()
                .name("aliases_tenant_id_fkey")
                .from("aliases", "tenant_id")
                .to("tenants", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
