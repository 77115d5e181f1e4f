use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("tenants")
                    .col(ColumnDef::new("id").uuid().not_null())
                    .col(ColumnDef::new("slug").text())
                    .col(ColumnDef::new("schema").text().not_null())
                    .col(ColumnDef::new("status").text().not_null())
                    .col(ColumnDef::new("schema_version").text())
                    .col(ColumnDef::new("contract_version").text())
                    .col(ColumnDef::new("max_connections").integer())
                    .col(ColumnDef::new("max_waiting").integer())
                    .col(ColumnDef::new("metadata").json_binary().not_null())
                    .col(ColumnDef::new("inserted_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("updated_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("migration_error").json_binary())
                    .col(ColumnDef::new("migration_attempts").integer().not_null().default(0))
                    .primary_key(Index::create().name("tenants_pkey").col("id"))
                    .check((
                        "tenants_status_check",
                        Expr::col("status").is_in([
                            "active",
                            "suspended",
                            "archived",
                            "spare",
                            "dropping",
                        ]),
                    ))
                    .check(("tenants_max_connections_check", Expr::col("max_connections").gte(1)))
                    .check(("tenants_max_waiting_check", Expr::col("max_waiting").gte(0)))
                    // A spare has no slug, every other tenant has one.
                    .check((
                        "tenants_slug_check",
                        Expr::cust(r#"("status" = 'spare') = ("slug" IS NULL)"#),
                    ))
                    .to_owned(),
            )
            .await?;
        for (name, column, unique) in [
            ("tenants_slug_key", "slug", true),
            ("tenants_schema_key", "schema", true),
            // Answers "who is behind?" for any number of tenants.
            ("tenants_schema_version_idx", "schema_version", false),
        ] {
            let mut index = Index::create().name(name).table("tenants").col(column).to_owned();
            if unique {
                index.unique();
            }
            manager.create_index(index).await?;
        }
        // Finds the next spare however many tenants there are.
        manager
            .create_index(
                Index::create()
                    .name("tenants_spare_idx")
                    .table("tenants")
                    .col("id")
                    .and_where(Expr::cust(r#""status" = 'spare'"#))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("tenants").to_owned()).await
    }
}
