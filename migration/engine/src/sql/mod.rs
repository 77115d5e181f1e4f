//! SQL text, read by the lexical rules of PostgreSQL: one lexer for all that has to know where a
//! name, a string or a statement ends.
//!
//! - [`tokens`] cuts a text into tokens, [`token`] finds the end of one.
//! - [`qualify`] puts a schema in place of the placeholder, and finds those of other tenants.
//! - [`needs_client`] finds a statement that only a client such as psql can carry out.
//! - [`transaction_control`] finds a statement that begins or ends a transaction.

mod client;
pub(crate) mod effect;
mod foreign;
mod lexer;
mod placeholder;
mod statement;
mod transaction;

pub use client::needs_client;
pub(crate) use foreign::names_schema;
pub use lexer::{Kind, Token, Tokens, token, tokens};
pub use placeholder::{qualify, replace_placeholder};
pub(crate) use statement::{SqlStatement, Word};
pub use transaction::transaction_control;
