//! Suppressions with a reason.

use sea_orm::TransactionTrait;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry_migrate::{
    DynMigrator, create_schema,
    lint::{Profile, Rule, allow, check},
};

use super::plan::{finds, report};
use crate::support::{TestDb, catalog::tables};

#[tokio::test]
async fn a_comment_with_a_reason_allows_a_finding() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = report(
        db,
        &["/* check: allow drop-column because nothing reads it since 1.4 */
           ALTER TABLE things DROP COLUMN amount;
           -- check: allow rename because it is the operator's table
           ALTER TABLE things RENAME TO items"],
    )
    .await;
    assert!(report.is_clean(), "{report:#?}");
    let [dropped, renamed] = &report.allowed[..] else { panic!("{report:#?}") };
    assert_eq!(dropped.finding.rule, Rule::DropColumn);
    assert_eq!(dropped.allowed_because, "nothing reads it since 1.4");
    assert_eq!(renamed.finding.rule, Rule::Rename);
}

#[tokio::test]
async fn an_allow_covers_one_rule_of_one_statement() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let report = report(
        db,
        &["/* check: allow drop-column because a */ ALTER TABLE things DROP COLUMN amount;
           ALTER TABLE things DROP COLUMN code;
           /* check: allow drop-column because b */
           ALTER TABLE things DROP COLUMN name, DROP COLUMN part_id"],
    )
    .await;
    let rules: Vec<Rule> = report.findings.iter().map(|it| it.rule).collect();
    assert_eq!(rules, [Rule::DropColumn, Rule::MultipleActions]);
    assert!(report.findings[0].message.contains("code"), "{report:#?}");
}

#[tokio::test]
async fn reports_unused_and_invalid_allows() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::UnusedAllow];
    for sql in [
        "/* check: allow rename because it is not needed */ ALTER TABLE things ADD a text",
        "/* check: allow everything because I may */ ALTER TABLE things ADD a text",
        "ALTER TABLE things ADD a text; -- check: allow rename because nothing follows",
        "/* check: allow unused-allow because b */ ALTER TABLE things ADD a text",
    ] {
        finds(db, &[sql], rules).await;
    }
    let both = &[Rule::DropColumn, Rule::UnusedAllow];
    for sql in [
        "/* check: allow drop-column */ ALTER TABLE things DROP COLUMN name",
        "/* check: allow drop-column because */ ALTER TABLE things DROP COLUMN name",
        "/* check: allow drop-table because wrong rule */ ALTER TABLE things DROP COLUMN name",
    ] {
        finds(db, &[sql], both).await;
    }
    // In a string it is data.
    let text = "UPDATE things SET name = '/* check: allow rename because a */'";
    finds(db, &[text], &[]).await;
}

struct Tables;
struct Dropping;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "m1"
    }
}

impl MigrationName for Dropping {
    fn name(&self) -> &str {
        "m2"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let id = ColumnDef::new("id").uuid().not_null().to_owned();
        let fax = ColumnDef::new("fax").text().to_owned();
        let key = Index::create().name("shops_pkey").col("id").to_owned();
        let table =
            Table::create().table("shops").col(id).col(fax).primary_key(&mut { key }).take();
        manager.create_table(table).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Dropping {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        allow(manager, Rule::DropColumn, "a reason with */ and /* in it").await?;
        manager.alter_table(Table::alter().table("shops").drop_column("fax").to_owned()).await
    }
}

struct Shops;

impl MigratorTraitSelf for Shops {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Tables), Box::new(Dropping)]
    }
}

#[tokio::test]
async fn allow_works_in_migrations_of_builders() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let migrator = DynMigrator::new(Shops);
    let report = check(db, &migrator, Profile::Citus).await.unwrap();
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.allowed[0].allowed_because, "a reason with * / and / * in it");

    let schema: tenantry_registry::SchemaName = "branch".parse().unwrap();
    let txn = db.begin().await.unwrap();
    create_schema(&txn, &schema, &migrator).await.unwrap();
    // Alone in a transaction, as a run sends it.
    txn.execute_unprepared("SET LOCAL search_path = branch").await.unwrap();
    allow(&SchemaManager::new(&txn), Rule::Rename, "nothing").await.unwrap();
    txn.commit().await.unwrap();
    assert!(tables(db).await.contains(&"branch.shops".to_owned()));
}
