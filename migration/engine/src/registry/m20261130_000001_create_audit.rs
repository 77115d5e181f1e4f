use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("audit")
                    .col(ColumnDef::new("id").uuid().not_null())
                    // By the server's clock, also for entries of several programs.
                    .col(
                        ColumnDef::new("at")
                            .timestamp_with_time_zone()
                            .not_null()
                            .default(Expr::cust("clock_timestamp()")),
                    )
                    // Shows which entries a snapshot does not contain: neither the time nor the id
                    // of an entry is in the order of commits.
                    .col(
                        ColumnDef::new("xact")
                            .custom("xid8")
                            .not_null()
                            .default(Expr::cust("pg_current_xact_id()")),
                    )
                    .col(ColumnDef::new("actor").text().not_null())
                    .col(ColumnDef::new("action").text().not_null())
                    // No foreign key: an entry outlives its tenant.
                    .col(ColumnDef::new("tenant_id").uuid())
                    .col(ColumnDef::new("slug").text())
                    .col(ColumnDef::new("request_id").text())
                    .col(ColumnDef::new("before").json_binary())
                    .col(ColumnDef::new("after").json_binary())
                    .primary_key(Index::create().name("audit_pkey").col("id"))
                    .to_owned(),
            )
            .await?;
        for (name, columns) in [
            ("audit_tenant_id_idx", &["tenant_id", "id"][..]),
            ("audit_at_idx", &["at"]),
            ("audit_xact_idx", &["xact"]),
        ] {
            let mut index = Index::create().name(name).table("audit").to_owned();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("audit").to_owned()).await
    }
}
