use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(application()).await?;
        manager.create_table(breaking()).await?;
        manager
            .create_table(
                Table::create()
                    .table("tenants")
                    .col(ColumnDef::new("id").uuid().not_null())
                    .col(ColumnDef::new("slug").text())
                    .col(ColumnDef::new("schema").text().not_null())
                    .col(ColumnDef::new("status").text().not_null())
                    .col(ColumnDef::new("schema_version").text())
                    .col(names("migrations"))
                    .col(names("breaking"))
                    .col(ColumnDef::new("max_connections").integer())
                    .col(ColumnDef::new("max_waiting").integer())
                    .col(ColumnDef::new("metadata").json_binary().not_null())
                    .col(ColumnDef::new("inserted_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("updated_at").timestamp_with_time_zone().not_null())
                    .col(ColumnDef::new("migration_error").json_binary())
                    .col(ColumnDef::new("migration_attempts").integer().not_null().default(0))
                    .col(ColumnDef::new("dropped_at").timestamp_with_time_zone())
                    .col(ColumnDef::new("dropped_by").text())
                    .primary_key(Index::create().name("tenants_pkey").col("id"))
                    .check((
                        "tenants_status_check",
                        Expr::col("status").is_in([
                            "active",
                            "suspended",
                            "archived",
                            "spare",
                            "dropping",
                            "dropped",
                        ]),
                    ))
                    .check(("tenants_max_connections_check", Expr::col("max_connections").gte(1)))
                    .check(("tenants_max_waiting_check", Expr::col("max_waiting").gte(0)))
                    // A spare has no slug, every other tenant has one.
                    .check((
                        "tenants_slug_check",
                        Expr::cust(r#"("status" = 'spare') = ("slug" IS NULL)"#),
                    ))
                    .check((
                        "tenants_dropped_check",
                        Expr::cust(r#"("status" = 'dropped') = ("dropped_at" IS NOT NULL)"#),
                    ))
                    .to_owned(),
            )
            .await?;
        // Partial: the slug of a dropped tenant may be used again. Before the index on the schema,
        // so that a duplicate slug is reported as such.
        manager
            .create_index(
                Index::create()
                    .name("tenants_slug_key")
                    .table("tenants")
                    .col("slug")
                    .unique()
                    .and_where(Expr::cust(r#""status" <> 'dropped'"#))
                    .to_owned(),
            )
            .await?;
        // Not partial, so that the name of a schema is never used twice.
        manager
            .create_index(
                Index::create()
                    .name("tenants_schema_key")
                    .table("tenants")
                    .col("schema")
                    .unique()
                    .to_owned(),
            )
            .await?;
        // Finds the next spare among many tenants.
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
        manager.drop_table(Table::drop().table("tenants").to_owned()).await?;
        manager.drop_table(Table::drop().table("breaking").to_owned()).await?;
        manager.drop_table(Table::drop().table("application").to_owned()).await
    }
}

/// Names of migrations; empty by default.
fn names(column: &'static str) -> ColumnDef {
    ColumnDef::new(column).array(ColumnType::Text).not_null().default(Expr::cust("'{}'")).to_owned()
}

/// Breaking migrations of the registry.
fn breaking() -> TableCreateStatement {
    Table::create()
        .table("breaking")
        .col(ColumnDef::new("migration").text().not_null())
        .primary_key(Index::create().name("breaking_pkey").col("migration"))
        .to_owned()
}

/// The application that the registry belongs to; at most one row.
fn application() -> TableCreateStatement {
    Table::create()
        .table("application")
        .col(ColumnDef::new("only").boolean().not_null().default(true))
        .col(ColumnDef::new("name").text().not_null())
        .primary_key(Index::create().name("application_pkey").col("only"))
        .check(("application_only_check", Expr::col("only")))
        .to_owned()
}
