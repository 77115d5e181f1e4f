//! Migrations from SQL strings.

use sea_orm::ConnectionTrait;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::TenantMigrator;

/// A migration with one SQL string for each direction.
#[derive(Clone)]
pub struct Sql {
    pub name: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    /// Whether it is non-transactional.
    pub alone: bool,
    /// Whether it is breaking.
    pub breaking: bool,
}

impl MigrationName for Sql {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Sql {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.up).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.down).await?;
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        self.alone.then_some(false)
    }
}

/// A migrator of such migrations, oldest first.
#[derive(Clone)]
pub struct SqlMigrator {
    pub migrations: Vec<Sql>,
    /// Name of the migrations table.
    pub table: &'static str,
}

impl MigratorTraitSelf for SqlMigrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        self.migrations.iter().map(|it| Box::new(it.clone()) as Box<dyn MigrationTrait>).collect()
    }

    fn migration_table_name(&self) -> DynIden {
        self.table.into_iden()
    }
}

impl TenantMigrator for SqlMigrator {
    fn breaking(&self) -> Vec<&'static str> {
        self.migrations.iter().filter(|it| it.breaking).map(|it| it.name).collect()
    }
}

pub const BOOKS: Sql = Sql {
    name: "m1_books",
    up: "CREATE TABLE books (isbn text CONSTRAINT books_pkey PRIMARY KEY, title text)",
    down: "DROP TABLE books",
    alone: false,
    breaking: false,
};
pub const SHELF: Sql = Sql {
    name: "m2_shelf",
    up: "ALTER TABLE books ADD COLUMN shelf text",
    down: "ALTER TABLE books DROP COLUMN shelf",
    alone: false,
    breaking: false,
};
pub const INDEX: Sql = Sql {
    name: "m3_index",
    up: "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS books_title_idx ON books (title)",
    down: "DROP INDEX CONCURRENTLY IF EXISTS books_title_idx",
    alone: true,
    breaking: false,
};
pub const PRICE: Sql = Sql {
    name: "m4_price",
    up: "ALTER TABLE books ADD COLUMN price int",
    down: "ALTER TABLE books DROP COLUMN price",
    alone: false,
    breaking: false,
};

/// A migrator of these.
pub fn sql_migrator<const N: usize>(migrations: [Sql; N]) -> SqlMigrator {
    SqlMigrator { migrations: migrations.into(), table: "seaql_migrations" }
}
