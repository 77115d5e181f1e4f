//! SQL: queries, and a lexer that follows the lexical rules of PostgreSQL.
//!
//! - [`tokens`] splits SQL into tokens, [`token`] finds the end of one.
//! - [`qualify`] replaces the placeholder by a schema, and finds the schemas of other tenants.
//! - [`needs_client`] finds statements that only a client such as psql can execute.
//! - [`transaction_control`] finds statements that begin or end a transaction.

mod assert;
mod client;
pub(crate) mod effect;
mod foreign;
mod lexer;
mod placeholder;
pub(crate) mod query;
mod statement;
mod transaction;

pub(crate) use assert::{ASSERTION_FAILED, assert_query, assert_sql};
pub use client::needs_client;
pub(crate) use foreign::names_schema;
pub use lexer::{Kind, Token, Tokens, token, tokens};
pub use placeholder::{qualify, replace_placeholder};
pub(crate) use statement::{SqlStatement, Word};
pub use transaction::transaction_control;
