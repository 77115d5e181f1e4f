//! Migrators like those of public SeaORM projects: their migrations query tables and columns, insert
//! rows, query entities, and create enums, functions and triggers.

use sea_orm::{ActiveModelTrait, EntityTrait, PaginatorTrait, Set, TransactionTrait};
use sea_orm_migration::{MigratorTraitSelf, prelude::*, schema::*};
use tenantry_migrate::TenantMigrator;

mod account {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub name: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Number of migrations.
#[derive(Clone, Copy)]
pub struct Public(pub usize);

impl MigratorTraitSelf for Public {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        (0..self.0)
            .map(|number| {
                let name = format!("m{number:06}_{}", if number == 0 { "begin" } else { "more" });
                Box::new(Step { number, name }) as Box<dyn MigrationTrait>
            })
            .collect()
    }
}

impl TenantMigrator for Public {
    /// Benchmarks with several migrators share a registry.
    fn application(&self) -> String {
        String::new()
    }
}

struct Step {
    number: usize,
    name: String,
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        &self.name
    }
}

const BEGIN: &str = "
    CREATE TYPE kind AS ENUM ('person', 'company');
    CREATE TABLE accounts (id serial CONSTRAINT accounts_pkey PRIMARY KEY, name text NOT NULL,
        kind kind NOT NULL DEFAULT 'person', CONSTRAINT accounts_name_key UNIQUE (name));
    CREATE TABLE countries (code text CONSTRAINT countries_pkey PRIMARY KEY, number int, name text);
    CREATE FUNCTION count_accounts() RETURNS bigint LANGUAGE sql
        BEGIN ATOMIC SELECT count(*) FROM accounts; END";

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let table = format!("things_{}", self.number);
        if self.number == 0 {
            db.execute_unprepared(BEGIN).await?;
        } else if self.number == 1 {
            let mut insert = Query::insert();
            insert.into_table("countries").columns(["code", "number", "name"]);
            for number in 0..600 {
                let name = format!("it's country {number}");
                insert.values_panic([number.to_string().into(), number.into(), name.into()]);
            }
            manager.exec_stmt(insert).await?;
        } else if self.number == 2 {
            let inner = db.begin().await?;
            for name in ["root", "guest"] {
                let name = Set(name.to_owned());
                account::ActiveModel { name, ..Default::default() }.insert(&inner).await?;
            }
            inner.commit().await?;
        } else if self.number.is_multiple_of(3) && !manager.has_table(&table).await? {
            let create = Table::create()
                .table(table)
                .col(pk_auto("id"))
                .col(string("name"))
                .col(integer("account_id"))
                .take();
            manager.create_table(create).await?;
        } else if self.number % 3 == 1 {
            let before = format!("things_{}", self.number - 1);
            if !manager.has_column(&before, "note").await? {
                let note = ColumnDef::new("note").text().take();
                manager.alter_table(Table::alter().table(before).add_column(note).take()).await?;
            }
        } else {
            let accounts = account::Entity::find().count(db).await?;
            let before = format!("things_{}", self.number - 2);
            db.execute_unprepared(&format!(
                "INSERT INTO {before} (name, account_id) VALUES ('first of {accounts}', 1);
                 CREATE INDEX {before}_account_id_idx ON {before} (account_id)"
            ))
            .await?;
        }
        Ok(())
    }
}
