//! Lint of migrations that use extensions.

use tenantry_migrate::{
    Extension,
    lint::{Profile, Rule, check},
};

use super::Uses;
use crate::support::TestDb;

#[tokio::test]
async fn use_of_a_declared_extension_is_no_finding() {
    let db = TestDb::new().await;
    let all = ["citext", "pg_trgm", "uuid-ossp", "hstore"].map(Extension::new);
    let uses = Uses::new(all).with(
        "CREATE TABLE people (
             id uuid DEFAULT uuid_generate_v4() CONSTRAINT people_pkey PRIMARY KEY,
             email citext CONSTRAINT people_email_key UNIQUE, aliases citext[], tags hstore,
             other extensions.citext, name text DEFAULT extensions.uuid_nil()::text);
         CREATE INDEX people_name_idx ON people USING gin (name gin_trgm_ops)",
    );
    uses.make(&db).await.unwrap();
    let plain = db.plain().await;
    let report = check(&plain, &uses.migrator(), Profile::Citus).await.unwrap();
    assert!(report.is_clean(), "{report:#?}");
    // An extension that is not declared is a finding.
    let uses = Uses::new([]).with(
        "CREATE TABLE people (id uuid CONSTRAINT people_pkey PRIMARY KEY, email extensions.citext)",
    );
    let report = check(&plain, &uses.migrator(), Profile::Citus).await.unwrap();
    let rules: Vec<Rule> = report.findings.iter().map(|it| it.rule).collect();
    assert_eq!(rules, [Rule::SchemaQualified], "{report:#?}");
}
