//! The tables of Tenantry as SeaORM entities.
//!
//! [`registry`] holds the tables that exist once: which tenants there are and where they live.
//! [`tenant`] holds the tables that *every* tenant has, each time in a schema of its own.
//!
//! The one invariant: an entity of [`tenant`] names the placeholder schema
//! [`PLACEHOLDER`](tenant::PLACEHOLDER), which never exists. Only a tenant handle of the service
//! crate puts a real schema in its place, so the same entity on a plain connection is refused by
//! PostgreSQL instead of reading somebody's rows.
//!
//! ```
//! use entity::tenant::guard;
//! use sea_orm::{DbBackend, EntityTrait, QueryTrait};
//!
//! let sql = guard::Entity::find().build(DbBackend::Postgres).to_string();
//! assert!(sql.ends_with(r#"FROM "@tenant"."guards""#));
//! ```

pub mod registry;
pub mod tenant;
mod timestamp;

pub use timestamp::{microseconds, now};
