//! Whether the schemas of a fleet are what the migrations make.
//!
//! [`verify`](fn@verify) builds a reference from scratch, in a transaction that is rolled back, and
//! compares every schema with the reference at the schema's own version: tables, columns, types,
//! constraints, indexes, sequences, views, functions, triggers, policies, grants, and the
//! migrations on record. It finds what was changed by hand, what a failed migration left, and what
//! the registry does not know. It changes nothing. What is meant can be [allowed](Allowances).
//!
//! ```no_run
//! # async fn example(
//! #     db: sea_orm::DatabaseConnection,
//! #     migrator: impl sea_orm_migration::MigratorTraitSelf + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use tenantry_migrate::{AnyMigrator, verify::{Scope, verify}};
//!
//! let migrator = AnyMigrator::new(migrator);
//! let found = verify(&db, &migrator, &Scope::All).await?;
//! if !found.is_clean() {
//!     eprintln!("{found}");
//! }
//! # Ok(()) }
//! ```

mod allow;
mod catalog;
mod compare;
mod diff;
mod error;
mod finding;
mod fleet;
mod look;
mod reference;
mod report;
mod sql;
mod strays;
mod structure;

pub use allow::{AllowError, Allowance, Allowances, Allowed, Difference, Named, Stray};
pub use diff::Change;
pub use error::VerifyError;
pub use finding::{Finding, Subject, Verification};
pub use fleet::{Scope, verify, verify_allowing};
pub(crate) use reference::changes_between;
pub use reference::{names_own_schema, names_own_schema_in, structure_in};
pub use structure::Structure;
