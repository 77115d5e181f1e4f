//! Lint and drift of shared tables, and of tenants' tables that refer to them.

use tenantry::{NewTenant, Tenancy};
use tenantry_migrate::{
    DynMigrator,
    drift::{Finding, VerifyTarget, verify},
    lint::{Profile, Report, Rule, check},
};

use super::*;
use crate::support::{catalog::texts, slug};

/// The findings for tenants' orders and a migration with this SQL.
async fn report(db: &DatabaseConnection, sql: &'static str, profile: Profile) -> Report {
    let more = Sql { name: "m2_more", up: sql, ..ORDERS };
    let shared = SharedMigrator::new(sql_migrator([PLANS]));
    let migrator = DynMigrator::tenant(sql_migrator([ORDERS, more])).with_shared(shared);
    check(db, &migrator, profile).await.unwrap()
}

fn rules(report: &Report) -> Vec<Rule> {
    report.findings.iter().map(|finding| finding.rule).collect()
}

#[tokio::test]
async fn a_foreign_key_to_a_shared_table_is_a_finding_for_citus_only() {
    let (_db, plain, _) = with_plans().await;
    let add = "ALTER TABLE orders ADD CONSTRAINT orders_second_fkey FOREIGN KEY (id) REFERENCES \
               shared.plans (id) NOT VALID";
    let drop = "ALTER TABLE orders DROP CONSTRAINT orders_plan_id_fkey";
    for sql in [add, drop, "DROP TABLE IF EXISTS nothing"] {
        let found = report(&plain, sql, Profile::Postgres).await;
        assert_eq!(found.migrations, ["s1_plans", "m1_orders", "m2_more"]);
        assert!(found.is_clean(), "{sql}: {found:#?}");
    }
    let found = report(&plain, add, Profile::Citus).await;
    assert_eq!(rules(&found), [Rule::SharedForeignKey; 2], "{found:#?}");
    assert_eq!(found.findings[0].message, "orders_plan_id_fkey of orders refers to shared.plans");
}

#[tokio::test]
async fn other_uses_of_the_shared_schema_are_findings() {
    let (_db, plain, _) = with_plans().await;
    for (sql, rule) in [
        (
            "UPDATE orders SET plan_id = (SELECT id FROM shared.plans LIMIT 1)",
            Rule::SchemaQualified,
        ),
        ("INSERT INTO shared.plans VALUES (gen_random_uuid(), 'x')", Rule::SchemaQualified),
        ("ALTER TABLE shared.plans ADD a text", Rule::OutsideSchema),
        ("CREATE VIEW free AS SELECT id FROM shared.plans", Rule::OutsideSchema),
        (
            "CREATE TABLE shared.more (id uuid CONSTRAINT more_pkey PRIMARY KEY)",
            Rule::OutsideSchema,
        ),
    ] {
        let found = rules(&report(&plain, sql, Profile::Postgres).await);
        assert!(found.contains(&rule), "{sql}: {found:?}");
    }
    let without = DynMigrator::tenant(sql_migrator([ORDERS]));
    let found = check(&plain, &without, Profile::Postgres).await.unwrap();
    assert!(rules(&found).contains(&Rule::OutsideSchema), "{found:#?}");
}

#[tokio::test]
async fn shared_migrations_are_checked_and_pending_ones_are_named() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let drop = Sql { name: "s2_drop", up: "ALTER TABLE plans DROP COLUMN name", ..PLANS };
    let found = check(&plain, &config(&db, [PLANS, drop]).migrator, Profile::Postgres).await;
    let found = found.unwrap();
    assert_eq!(rules(&found), [Rule::DropColumn, Rule::MigrationFails], "{found:#?}");
    assert!(found.findings[1].message.contains("lack s1_plans, s2_drop"), "{found:#?}");
    assert!(!crate::support::catalog::schemas(&plain).await.contains(&"shared".to_owned()));
}

#[tokio::test]
async fn drift_of_shared_tables_is_found() {
    let (_db, plain, config) = with_plans().await;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    let found = async |target| verify(&plain, &config.migrator, &target).await.unwrap();
    for target in [VerifyTarget::All, VerifyTarget::Shared] {
        let verified = found(target.clone()).await;
        let schemas = if target == VerifyTarget::All { 2 } else { 1 };
        assert!(verified.is_clean() && verified.schemas == schemas, "{verified}");
    }
    texts(&plain, "ALTER TABLE shared.plans ADD badge int").await;
    for target in [VerifyTarget::All, VerifyTarget::Shared] {
        let verified = found(target).await;
        let [Finding::Drift { tenants, difference, .. }] = &verified.findings[..] else {
            panic!("{verified}")
        };
        assert_eq!(tenants[0].schema.as_str(), "shared");
        assert_eq!(difference[0].to_string(), "+ column plans.badge integer");
    }
}
