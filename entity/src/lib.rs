//! Entities of the tables in each tenant's schema.
//!
//! They name the schema `@tenant`, which does not exist: a tenant's handle replaces it by the tenant's
//! schema, and on any other connection PostgreSQL rejects the statement.
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
