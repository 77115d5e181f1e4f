//! Shared by all tests: one server per test process, one database per test.

pub mod catalog;
pub mod database;
pub mod http2;
pub mod http_server;
pub mod issuer;
pub mod log;
pub mod pooler;
pub mod process;
pub mod route;
pub mod scratch;
pub mod sql_migration;
pub mod statement_log;
pub mod tcp_proxy;

pub use database::TestDb;

/// Parses a slug.
pub fn slug(text: &str) -> tenantry::Slug {
    text.parse().unwrap()
}

/// A guard to insert.
pub fn abu() -> entity::guard::ActiveModel {
    entity::guard::ActiveModel {
        name: sea_orm::Set("Abu".into()),
        position: sea_orm::Set("Gate".into()),
        ..Default::default()
    }
}
