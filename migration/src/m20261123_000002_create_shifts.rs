use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("shifts")
                    .col(ColumnDef::new("id").uuid().not_null())
                    .col(ColumnDef::new("guard_id").uuid().not_null())
                    .col(ColumnDef::new("starts_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("ends_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("inserted_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("updated_at").timestamp_with_time_zone().not_null())
                    .primary_key(Index::create().name("shifts_pkey").col("id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("shifts_guard_id_fkey")
                            .from("shifts", "guard_id")
                            .to("guards", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .check((
                        "shifts_ends_at_check",
                        Expr::col("ends_at").gt(Expr::col("starts_at")),
                    ))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("shifts_guard_id_idx")
                    .table("shifts")
                    .col("guard_id")
                    .col("id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("shifts").to_owned()).await
    }
}
