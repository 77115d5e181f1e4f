use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("api_keys")
                    .col(ColumnDef::new("id").uuid().not_null())
                    .col(ColumnDef::new("prefix").text().not_null())
                    .col(ColumnDef::new("hash").binary().not_null())
                    .col(ColumnDef::new("tenant_id").uuid())
                    .col(ColumnDef::new("scopes").array(ColumnType::Text).not_null())
                    .col(ColumnDef::new("name").text().not_null())
                    .col(ColumnDef::new("expires_at").timestamp_with_time_zone())
                    .col(ColumnDef::new("last_used_at").timestamp_with_time_zone())
                    .col(ColumnDef::new("revoked_at").timestamp_with_time_zone())
                    .col(ColumnDef::new("inserted_at").timestamp_with_time_zone().not_null())
                    .primary_key(Index::create().name("api_keys_pkey").col("id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("api_keys_tenant_id_fkey")
                            .from("api_keys", "tenant_id")
                            .to("tenants", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .check(("api_keys_hash_check", Expr::cust(r#"octet_length("hash") = 32"#)))
                    .check((
                        "api_keys_scopes_check",
                        Expr::cust(
                            r#""scopes" <@ '{read,write,admin}' AND cardinality("scopes") > 0"#,
                        ),
                    ))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("api_keys_prefix_key")
                    .table("api_keys")
                    .col("prefix")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("api_keys_tenant_id_idx")
                    .table("api_keys")
                    .col("tenant_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("api_keys").to_owned()).await
    }
}
