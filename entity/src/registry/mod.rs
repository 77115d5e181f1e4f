//! Tables that exist once, in the schema [`SCHEMA`], and the names they are keyed by.

pub mod application;
pub mod domain;
pub mod tenant;

mod display_name;
mod hostname;
mod name_error;
mod schema_name;
mod slug;
mod tag;
mod tenant_id;

pub use display_name::DisplayName;
pub use hostname::Hostname;
pub use name_error::NameError;
pub use schema_name::{RESERVED_WORDS, SchemaName};
pub use slug::Slug;
pub use tag::Tag;
pub use tenant_id::TenantId;

/// The schema of the registry's tables. Fixed at compile time: it is the same for everybody.
pub const SCHEMA: &str = "registry";
