//! Which rules run by default, and which with `--profile citus`.

use std::collections::BTreeSet;

use tenantry_migrate::lint::{Profile, Rule};

use super::plan::{ALONE_INDEX, report_with};
use crate::support::{TestDb, process::Ran};

/// SQL that violates a rule, and maybe others.
const VIOLATIONS: [(Rule, &str); 32] = [
    (Rule::PrimaryKey, "CREATE TABLE bare (id uuid)"),
    (Rule::Identity, "CREATE SEQUENCE numbers"),
    (Rule::OutsideSchema, "DO $$ BEGIN PERFORM id FROM registry.tenants; END $$"),
    (Rule::Extension, "CREATE EXTENSION citext"),
    (Rule::SchemaQualified, "CREATE SCHEMA other"),
    (
        Rule::PlaceholderInString,
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
           RETURN (SELECT count(*) FROM \"@tenant\".things); END $$",
    ),
    (Rule::SearchPath, "SET LOCAL search_path = public"),
    (Rule::SessionSetting, "SET statement_timeout = 0"),
    (Rule::TemporaryTable, "CREATE TEMP TABLE t (a int)"),
    (Rule::CatalogByName, "SELECT FROM information_schema.tables WHERE table_name = 'things'"),
    (
        Rule::DiffersBetweenSchemas,
        "DO $$ BEGIN IF current_schema() LIKE '%second%' THEN ALTER TABLE things ADD a text; \
         END IF; END $$",
    ),
    (
        Rule::FunctionSearchPath,
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM things'",
    ),
    (
        Rule::Trigger,
        "CREATE TRIGGER t BEFORE UPDATE ON things FOR EACH ROW
         EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    (Rule::CustomType, "CREATE TYPE mood AS ENUM ('sad', 'ok')"),
    (Rule::MultipleActions, "ALTER TABLE things ADD a text, ADD b text"),
    (Rule::UnnamedConstraint, "CREATE TABLE t (id uuid PRIMARY KEY)"),
    (Rule::RenameConstraint, "ALTER TABLE things RENAME CONSTRAINT things_pkey TO things_key"),
    (
        Rule::DeferrableConstraint,
        "CREATE TABLE t (id uuid CONSTRAINT t_pkey PRIMARY KEY DEFERRABLE)",
    ),
    (Rule::Inheritance, "CREATE TABLE t (CONSTRAINT t_pkey PRIMARY KEY (id)) INHERITS (things)"),
    (Rule::VolatileFunction, "UPDATE things SET name = random()::text"),
    (Rule::VolatileDefault, "ALTER TABLE things ADD a uuid DEFAULT gen_random_uuid()"),
    (Rule::NotNullWithoutDefault, "ALTER TABLE things ADD a text NOT NULL"),
    (Rule::SetNotNull, "ALTER TABLE things ALTER name SET NOT NULL"),
    (Rule::IndexWithoutConcurrently, "CREATE INDEX things_amount_idx ON things (amount)"),
    (Rule::TypeChange, "ALTER TABLE things ALTER amount TYPE bigint"),
    (Rule::ValidatedConstraint, "ALTER TABLE things ADD CONSTRAINT things_c CHECK (amount > 0)"),
    (Rule::RewritesTable, "ALTER TABLE things SET UNLOGGED"),
    (Rule::DropColumn, "ALTER TABLE things DROP COLUMN name"),
    (Rule::DropTable, "DROP TABLE entries"),
    (Rule::Rename, "ALTER TABLE things RENAME TO items"),
    (Rule::ConcurrentlyInTransaction, "CREATE INDEX CONCURRENTLY i ON things (amount)"),
    (Rule::NotIdempotent, ALONE_INDEX),
];

/// These need no SQL of their own, or are refused: they are tested elsewhere, in each profile.
const OTHERS: [Rule; 5] = [
    Rule::SharedForeignKey,
    Rule::ScansTable,
    Rule::TransactionControl,
    Rule::MigrationFails,
    Rule::UnusedAllow,
];

const ONLY_CITUS: [Rule; 10] = [
    Rule::PrimaryKey,
    Rule::Identity,
    Rule::Trigger,
    Rule::CustomType,
    Rule::MultipleActions,
    Rule::UnnamedConstraint,
    Rule::RenameConstraint,
    Rule::DeferrableConstraint,
    Rule::Inheritance,
    Rule::VolatileFunction,
];

#[tokio::test]
async fn each_rule_fires_in_its_profiles_only() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let covered: BTreeSet<Rule> = VIOLATIONS.iter().map(|(rule, _)| *rule).chain(OTHERS).collect();
    assert_eq!(covered, Rule::all().collect());
    for (rule, sql) in VIOLATIONS {
        for profile in [Profile::Postgres, Profile::Citus] {
            let report = report_with(db, &[sql], profile).await;
            let fires = report.findings.iter().any(|it| it.rule == rule);
            let expected = profile == Profile::Citus || !ONLY_CITUS.contains(&rule);
            assert_eq!(fires, expected, "{rule} {profile:?} {sql}: {report:#?}");
            assert!(report.findings.iter().all(|it| profile.includes(it.rule)), "{report:#?}");
        }
    }
}

#[tokio::test]
async fn an_enum_a_trigger_and_an_unnamed_key_are_no_findings_by_default() {
    let test = TestDb::new().await;
    let sql = "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id bigserial PRIMARY KEY, m mood);
        CREATE TRIGGER t BEFORE UPDATE ON t FOR EACH ROW
        EXECUTE FUNCTION suppress_redundant_updates_trigger()";
    let report = report_with(&test.plain().await, &[sql], Profile::default()).await;
    assert!(report.is_clean(), "{report:#?}");
}

#[tokio::test]
async fn an_allow_of_a_rule_of_another_profile_is_not_unused() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let sql = "/* check: allow trigger because audits */ CREATE TRIGGER t BEFORE UPDATE ON things
        FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()";
    let report = report_with(db, &[sql], Profile::Postgres).await;
    assert!(report.is_clean() && report.allowed.is_empty(), "{report:#?}");
    let report = report_with(db, &[sql], Profile::Citus).await;
    assert!(report.is_clean() && report.allowed.len() == 1, "{report:#?}");
    let unused = "/* check: allow trigger because audits */ ALTER TABLE things ADD a text";
    assert!(report_with(db, &[unused], Profile::Postgres).await.is_clean());
    let report = report_with(db, &[unused], Profile::Citus).await;
    assert_eq!(report.findings[0].rule, Rule::UnusedAllow, "{report:#?}");
}

#[test]
fn the_documentation_lists_every_rule_with_its_profile() {
    let docs = include_str!("../../../../docs/MIGRATIONS.md");
    for rule in Rule::all() {
        let profile = if rule.profile() == Profile::Citus { "citus" } else { "postgres" };
        assert!(docs.contains(&format!("\n| `{rule}` | {profile} | ")), "{rule}");
    }
}

#[test]
fn help_explains_the_profiles() {
    let ran = Ran::on("migration", "postgres://none@localhost:1/none", &["check", "--help"]);
    ran.exits(0).says(["--profile <PROFILE>", "Citus cluster", "[default: postgres]"]);
}
