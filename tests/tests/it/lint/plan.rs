//! A migrator of SQL batches, and its report.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::{
    DynMigrator,
    lint::{Profile, Report, Rule, check},
};

/// The tables that exist before the migration under test.
const BASE: &str = "
    CREATE TABLE parts (id uuid CONSTRAINT parts_pkey PRIMARY KEY);
    CREATE TABLE things (id uuid CONSTRAINT things_pkey PRIMARY KEY, name text,
        code varchar(10), amount integer NOT NULL, part_id uuid);
    CREATE INDEX things_name_idx ON things (name);
    CREATE INDEX things_code_idx ON things (code);
    CREATE TABLE entries (id uuid, at integer, CONSTRAINT entries_pkey PRIMARY KEY (id, at))";

/// The prefix of a migration that runs outside a transaction.
pub const ALONE: &str = "-- alone\n";

/// A statement that fails if it is repeated.
pub const ALONE_INDEX: &str =
    "-- alone\nCREATE INDEX CONCURRENTLY things_amount_idx ON things (amount)";

/// A migration of one SQL batch.
#[derive(Clone)]
struct Text(String, &'static str);

impl MigrationName for Text {
    fn name(&self) -> &str {
        &self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Text {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.1).await?;
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        self.1.starts_with(ALONE).then_some(false)
    }
}

/// `m1` creates the tables; `m2` and so on are these.
struct Plan(Vec<&'static str>);

impl MigratorTraitSelf for Plan {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let texts = [BASE].into_iter().chain(self.0.iter().copied());
        texts
            .enumerate()
            .map(|(n, sql)| Box::new(Text(format!("m{}", n + 1), sql)) as Box<dyn MigrationTrait>)
            .collect()
    }

    fn migration_table_name(&self) -> DynIden {
        "plan_migrations".into_iden()
    }
}

/// The report for these migrations with all rules.
pub async fn report(db: &DatabaseConnection, migrations: &[&'static str]) -> Report {
    report_with(db, migrations, Profile::Citus).await
}

pub async fn report_with(
    db: &DatabaseConnection,
    migrations: &[&'static str],
    profile: Profile,
) -> Report {
    check(db, &DynMigrator::new(Plan(migrations.to_vec())), profile).await.unwrap()
}

/// Expects that the last migration violates exactly these rules, and the others none.
pub async fn finds(db: &DatabaseConnection, migrations: &[&'static str], rules: &[Rule]) {
    let report = report(db, migrations).await;
    let last = format!("m{}", migrations.len() + 1);
    assert!(report.findings.iter().all(|it| it.migration == last), "{migrations:?}: {report:#?}");
    let found: BTreeSet<Rule> = report.findings.iter().map(|it| it.rule).collect();
    assert_eq!(found, BTreeSet::from_iter(rules.iter().copied()), "{migrations:?}: {report:#?}");
}

/// Expects no findings.
pub async fn passes(db: &DatabaseConnection, migrations: &[&'static str]) {
    let report = report(db, migrations).await;
    assert!(report.is_clean(), "{migrations:?}: {report:#?}");
    assert_eq!(report.migrations.len(), migrations.len() + 1);
}
