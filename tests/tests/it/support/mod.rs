//! What the tests share: one server per test process, one database per test.

pub mod catalog;
pub mod database;
pub mod http2;
pub mod log;
pub mod pooler;
pub mod process;
pub mod scratch;
pub mod serving;
pub mod sql_migration;
pub mod statement_log;
pub mod wire;

pub use database::TestDb;

/// Shorthand for a slug in a test.
pub fn slug(text: &str) -> tenantry::Slug {
    text.parse().unwrap()
}
