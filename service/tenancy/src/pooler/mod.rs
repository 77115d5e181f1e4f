//! Tenants' statements through a pooler in transaction mode, such as PgBouncer, which gives a client
//! another session of the server for each transaction.
//!
//! What is sent there needs no session of its own ([`SessionUse`](super::statement::SessionUse)), and
//! every statement outside a transaction has a name, which the pooler has to keep for its client. At
//! the start, [`proof`] shows that it does, and [`settings`] that the sessions are as expected.

mod error;
mod proof;
mod settings;

use tenantry_migrate::connect::SessionOptions;

pub use error::PoolerError;
pub(super) use proof::prove;
pub(super) use settings::RoleSettings;

use super::Config;

/// Refuses a configuration that cannot work through a pooler. Sends nothing.
pub(super) async fn check_config(
    config: &Config,
    session: &SessionOptions,
) -> Result<(), PoolerError> {
    if config.statement_cache == Some(0) {
        return Err(PoolerError::NoStatementCache);
    }
    match session.has_callback().await {
        true => Err(PoolerError::AfterConnect),
        false => Ok(()),
    }
}
