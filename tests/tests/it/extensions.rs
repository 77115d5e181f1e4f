//! Extensions: where they are installed, what is refused, and statements that use them.

mod checked;
mod handle;
mod place;

use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::Config;
use tenantry_migrate::{DynMigrator, Extension, TenantMigrator, make_extensions};

use crate::support::{TestDb, sql_migration::Sql};

/// A migrator with SQL strings that declares extensions.
#[derive(Clone)]
struct Uses {
    extensions: Vec<Extension>,
    sql: Vec<&'static str>,
}

impl Uses {
    fn new<const N: usize>(extensions: [Extension; N]) -> Self {
        Self { extensions: extensions.into(), sql: Vec::new() }
    }

    fn with(mut self, sql: &'static str) -> Self {
        self.sql.push(sql);
        self
    }

    fn migrator(&self) -> DynMigrator {
        DynMigrator::tenant(self.clone())
    }

    fn config(&self, db: &TestDb) -> Config {
        Config::new(db.url(), self.clone())
    }

    async fn make(&self, db: &TestDb) -> Result<(), tenantry_migrate::Error> {
        let plain = db.plain().await;
        let made = make_extensions(&plain, &self.migrator()).await;
        plain.close().await.unwrap();
        made
    }
}

impl MigratorTraitSelf for Uses {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        const NAMES: [&str; 4] = ["m1", "m2", "m3", "m4"];
        let named = NAMES.into_iter().zip(&self.sql);
        let all = named.map(|(name, up)| Sql {
            name,
            up,
            down: "SELECT 1",
            alone: false,
            breaking: false,
        });
        all.map(|it| Box::new(it) as Box<dyn MigrationTrait>).collect()
    }
}

impl TenantMigrator for Uses {
    fn extensions(&self) -> Vec<Extension> {
        self.extensions.clone()
    }

    fn application(&self) -> String {
        "uses".to_owned()
    }
}
