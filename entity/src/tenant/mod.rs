//! Tables that every tenant has, in a schema of its own.

pub mod guard;
pub mod shift;

/// The schema that tenant entities name. It stands for the schema of whichever tenant a handle
/// was made for, and is never created: `@` is allowed in no schema name.
pub const PLACEHOLDER: &str = "@tenant";
