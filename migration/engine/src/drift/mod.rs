//! Whether the schemas of a fleet are what the migrations make.
//!
//! [`verify`](fn@verify) builds a reference from scratch, in a transaction that is rolled back, and
//! compares every schema with the reference at the schema's own version: tables, columns, types,
//! constraints, indexes, sequences, views, functions, triggers, policies, grants, and the
//! migrations on record. It finds what was changed by hand, what a failed migration left, and what
//! the registry does not know. It changes nothing. What is meant can be [allowed](Allowlist).
//!
//! ```no_run
//! # async fn example(
//! #     db: sea_orm::DatabaseConnection,
//! #     migrator: impl sea_orm_migration::MigratorTraitSelf + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use tenantry_migrate::{DynMigrator, drift::{VerifyTarget, verify}};
//!
//! let migrator = DynMigrator::new(migrator);
//! let found = verify(&db, &migrator, &VerifyTarget::All).await?;
//! if !found.is_clean() {
//!     eprintln!("{found}");
//! }
//! # Ok(()) }
//! ```

mod allowlist;
mod catalog;
mod compare;
mod diff;
mod error;
mod finding;
mod inspect;
mod orphans;
mod reference;
mod report;
mod sql;
mod structure;
mod verify;

pub use allowlist::{
    Allowed, Allowlist, AllowlistEntry, AllowlistError, Difference, NamePattern, Orphan,
};
pub use diff::Change;
pub use error::VerifyError;
pub use finding::{Finding, SchemaRef, Verification};
pub(crate) use reference::changes_between;
pub use reference::{embeds_schema_name, embeds_schema_name_in, read_structure};
pub use structure::Structure;
pub use verify::{VerifyTarget, verify, verify_with_allowlist};
