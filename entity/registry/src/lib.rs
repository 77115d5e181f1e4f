//! Registry of a Tenantry database: the names of tenants, schemas and hosts, the entities of the
//! tables that exist once, and the notifications that processes send each other.
//!
//! ```
//! use tenantry_registry::{SchemaName, Slug};
//!
//! let slug: Slug = "acme-berlin".parse()?;
//! let schema = SchemaName::for_slug("", &slug)?;
//! assert_eq!(schema.quoted(), "\"acme_berlin\"");
//! assert!("Acme!".parse::<Slug>().is_err());
//! # Ok::<(), tenantry_registry::NameError>(())
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`tenant`], [`domain`], [`alias`], [`api_key`], [`audit`], [`application`] | entities of the registry's tables, in the schema [`SCHEMA`] |
//! | [`notify`] | channel and payloads of `NOTIFY` |
//! | root | validated names ([`Slug`], [`SchemaName`], [`Hostname`], [`Origin`], …), timestamps, the [`PLACEHOLDER`] |

pub mod alias;
pub mod api_key;
pub mod application;
pub mod audit;
pub mod domain;
pub mod notify;
pub mod tenant;

mod display_name;
mod hostname;
mod name_error;
mod origin;
mod reason;
mod schema_name;
mod scope;
mod slug;
mod tag;
mod tenant_id;
mod timestamp;

pub use display_name::DisplayName;
pub use hostname::Hostname;
pub use name_error::NameError;
pub use origin::Origin;
pub use reason::Reason;
pub use schema_name::{RESERVED_WORDS, SchemaName};
pub use scope::{Scope, Scopes, UnknownScope};
pub use slug::Slug;
pub use tag::Tag;
pub use tenant_id::TenantId;
pub use timestamp::{microseconds, now, stamp};

/// The schema of the registry's tables, the same in all installations.
pub const SCHEMA: &str = "registry";

/// The schema name in entities of tenants' tables: `schema_name = "@tenant"`. A tenant handle replaces
/// it by the tenant's schema. No such schema exists, as a schema name may not contain `@`, so
/// PostgreSQL rejects such an entity on any other connection.
pub const PLACEHOLDER: &str = "@tenant";
