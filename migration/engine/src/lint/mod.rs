//! Lint of tenant migrations: statements that lock a table in use, break the release that still
//! runs while tenants are migrated, affect more than the tenant's schema, or (with
//! [`Profile::Citus`]) keep a schema from moving to another node.
//!
//! Every migration runs in two scratch schemas, in one transaction that is rolled back; a
//! difference between the two is a finding. The catalog is compared before and after each
//! statement: was a table rewritten or scanned, which constraints, indexes and types are new, was
//! an object outside the schema used? So raw SQL, SeaORM's builders and `DO` blocks are treated
//! alike. Only properties that leave no trace in the catalog – a schema-qualified name, several
//! actions in one `ALTER TABLE`, a volatile function in an `UPDATE` – are found in the tokens.
//!
//! A finding is allowed by [`allow`] before the statement, or by a comment in it:
//! `/* check: allow drop-column because nothing reads it since 1.4 */`. A comment without a reason,
//! or without a finding, is a finding itself.
//!
//! Limits: tokens inside functions and `DO` blocks are not examined, the scratch tables are empty,
//! and `down` does not run.
//!
//! ```no_run
//! # async fn example(
//! #     db: sea_orm::DatabaseConnection,
//! #     migrator: impl sea_orm_migration::MigratorTraitSelf + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use tenantry_migrate::{DynMigrator, lint::{Profile, check}};
//!
//! let report = check(&db, &DynMigrator::new(migrator), Profile::Postgres).await?;
//! for finding in &report.findings {
//!     println!("{}: {}: {}", finding.migration, finding.rule, finding.message);
//! }
//! # Ok(()) }
//! ```

mod allow;
mod catalog_by_name;
mod catalog_lookup;
mod catalog_rules;
mod catalog_snapshot;
mod existing_table_rules;
pub(crate) mod functions;
mod observer;
mod proxy;
mod report;
mod rule;
mod rule_text;
mod run;
mod second_schema;
mod session_rules;
mod token_rules;
mod violation;

pub(crate) use allow::Suppressions;
pub use allow::allow;
pub use report::{AllowedFinding, Finding, Report};
pub use rule::{Profile, Rule, UnknownRule};
pub use run::check;
pub(crate) use run::schema_dependent;
