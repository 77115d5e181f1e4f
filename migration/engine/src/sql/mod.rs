//! SQL: queries, and a lexer that follows the lexical rules of PostgreSQL.
//!
//! - [`tokens`] splits SQL into tokens.
//! - [`qualify`] replaces the placeholder by a schema, and finds the schemas of other tenants.
//! - [`with_literals`] replaces parameters by values.

mod assert;
mod client;
pub(crate) mod effect;
mod foreign;
mod lexer;
mod literals;
mod placeholder;
pub(crate) mod query;
mod statement;
mod transaction;

pub(crate) use assert::{ASSERTION_FAILED, assert_query, assert_sql};
pub(crate) use foreign::names_schema;
pub use lexer::{Kind, Token, Tokens, tokens};
pub use literals::{Literal, with_literals};
pub use placeholder::{qualify, replace_placeholder};
pub(crate) use statement::{SqlStatement, Word};

/// A name as a quoted identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
