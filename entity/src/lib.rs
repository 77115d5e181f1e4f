//! Entities of the tables that every tenant has, in a schema of its own.
//!
//! They name the schema `@tenant`, which never exists: a tenant's handle puts the tenant's schema
//! in its place, and on any other connection PostgreSQL refuses the statement.
//!
//! ```
//! use entity::guard;
//! use sea_orm::{DbBackend, EntityTrait, QueryTrait};
//!
//! let sql = guard::Entity::find().build(DbBackend::Postgres).to_string();
//! assert!(sql.ends_with(r#"FROM "@tenant"."guards""#));
//! ```

pub mod guard;
pub mod shift;
