//! The `migration` command of another application, whose migrations bear every flag.

use std::process::ExitCode;

use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::{SharedMigrator, TenantMigrator, cli::MigrationCommand};

struct Library;

struct Sql(&'static str, &'static str);

impl MigrationName for Sql {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Sql {
    #[expect(clippy::disallowed_methods, reason = "it names nothing from outside")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.1).await?;
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        self.1.contains("CONCURRENTLY").then_some(false)
    }
}

impl MigratorTraitSelf for Library {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations: Vec<Box<dyn MigrationTrait>> = vec![
            Box::new(Sql("m1_books", "CREATE TABLE books (isbn text PRIMARY KEY, title text)")),
            Box::new(Sql("m2_index", "CREATE INDEX CONCURRENTLY books_idx ON books (title)")),
            Box::new(Sql("m3_drop", "ALTER TABLE books DROP COLUMN title")),
        ];
        // PostgreSQL wants commits between these.
        if std::env::var_os("LIBRARY_LOANS").is_some() {
            let loans = "CREATE TABLE loans (isbn text CONSTRAINT isbn_fkey REFERENCES books \
                 DEFERRABLE INITIALLY DEFERRED); CREATE TABLE copies (isbn text \
                 CONSTRAINT isbn_fkey REFERENCES books)";
            migrations.push(Box::new(Sql("m4_loans", loans)));
            let rows = "INSERT INTO loans VALUES ('a'); INSERT INTO books VALUES ('a')";
            migrations.push(Box::new(Sql("m5_rows", rows)));
            migrations.push(Box::new(Sql("m6_column", "ALTER TABLE loans ADD COLUMN due date")));
        }
        if shared() > 0 {
            let column = "ALTER TABLE books ADD COLUMN plan uuid CONSTRAINT books_plan_fkey \
                 REFERENCES shared.plans (id)";
            migrations.push(Box::new(Sql("m7_plan", column)));
        }
        migrations
    }
}

/// The number of migrations of shared tables, from `LIBRARY_SHARED`.
fn shared() -> usize {
    std::env::var("LIBRARY_SHARED").ok().and_then(|n| n.parse().ok()).unwrap_or_default()
}

struct Shared;

impl MigratorTraitSelf for Shared {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let all = [
            ("s1_plans", "CREATE TABLE plans (id uuid CONSTRAINT plans_pkey PRIMARY KEY)"),
            ("s2_name", "ALTER TABLE plans ADD COLUMN name text"),
        ];
        let all = all.into_iter().take(shared());
        all.map(|(name, sql)| Box::new(Sql(name, sql)) as Box<dyn MigrationTrait>).collect()
    }
}

impl TenantMigrator for Library {
    fn shared(&self) -> Option<SharedMigrator> {
        (shared() > 0).then(|| SharedMigrator::new(Shared))
    }

    /// With `LIBRARY_MISSPELT` it names a migration that does not exist.
    fn breaking(&self) -> Vec<&'static str> {
        let misspelt = std::env::var_os("LIBRARY_MISSPELT").is_some();
        vec![if misspelt { "m3_dorp" } else { "m3_drop" }]
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    MigrationCommand::new(Library).application("library").main().await
}
