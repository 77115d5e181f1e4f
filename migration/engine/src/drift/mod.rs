//! Drift detection: compares schemas with the structure that the migrations create.
//!
//! [`verify`](fn@verify) builds a reference in a transaction that is rolled back, and compares every
//! schema with the reference of the schema's own version: tables, columns, types, constraints,
//! indexes, sequences, views, functions, triggers, policies, grants, and applied migrations. It
//! finds manual changes, remains of failed migrations, and schemas without a registry row. It
//! changes nothing. An [`Allowlist`] has the findings that are intended.
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
mod attempts;
mod catalog;
mod compare;
mod diff;
mod down_nodes;
mod error;
mod finding;
mod inspect;
mod orphans;
mod reference;
mod report;
mod structure;
mod unregistered;
mod verify;

pub use allowlist::{
    Allowed, Allowlist, AllowlistEntry, AllowlistError, Difference, NamePattern, Orphan,
};
pub use diff::Change;
pub use error::VerifyError;
pub use finding::{Finding, SchemaRef, Verification};
pub(crate) use reference::{Reference, changes_between};
pub use reference::{embeds_schema_name, embeds_schema_name_in, read_structure};
pub use structure::Structure;
pub use unregistered::{UnregisteredSchema, unregistered_schemas};
pub use verify::{VerifyTarget, verify, verify_with_allowlist};
