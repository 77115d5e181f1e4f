//! A lint of tenant migrations: what would lock a live table, break the code that still runs
//! while tenants are migrated, or keep a tenant's schema from moving to a node of its own.
//!
//! Nothing is guessed from source code. Every migration runs in two scratch schemas side by side,
//! inside one transaction that is rolled back: a difference between the two is a finding. After
//! each statement PostgreSQL is asked what the statement
//! did: was a table written anew or read through, which constraints, indexes and types are there
//! now, was something outside the schema external_relations? So raw SQL, SeaORM's builders and `DO` blocks
//! are judged alike. Only what leaves no trace – a schema's name, several actions in one
//! `ALTER TABLE`, a volatile function in an `UPDATE` – is read off the statement's words.
//!
//! A finding that is meant is acknowledged with its reason: by [`allow`] before the statement, or
//! by a comment in it, `/* check: allow drop-column because nothing reads it since 1.4 */`.
//! An acknowledgement without a reason, or one that nothing needs, is a finding itself.
//!
//! Not seen: the words inside a function or a `DO` block, what depends on data (the scratch tables
//! are empty), and `down`.
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
