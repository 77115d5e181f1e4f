use std::time::Duration;

use sea_orm::DbErr;
use tenantry_migrate::connect::ConnectError;
use thiserror::Error;

use super::super::marker;

/// Why tenants' statements cannot go through a pooler
/// ([`Config::direct_url`](crate::Config::direct_url)).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolerError {
    /// The connection past the pooler failed.
    #[error("{}", .0.of_direct_url("the direct URL"))]
    Direct(#[source] ConnectError),

    /// The two URLs lead to different databases.
    #[error(
        "the direct URL leads to another database than the pooler does; correct one of the two URLs"
    )]
    OtherDatabase,

    /// Statements could not be prepared under a name.
    #[error(
        "statement_cache is 0, but through a pooler every statement needs a name; set it to at \
         least 1"
    )]
    NoStatementCache,

    /// The sessions behind the pooler are not those of one connection.
    #[error(
        "after_connect cannot prepare the sessions behind a pooler; leave it out, and make its \
         settings for the role with ALTER ROLE"
    )]
    AfterConnect,

    /// The settings of the sessions behind the pooler, which are those of the role, differ from what
    /// is needed.
    #[error(
        "the sessions of role {role:?} behind the pooler have other settings than needed ({}). Run: \
         {}; and let the pooler open new sessions after that (RECONNECT in the console of PgBouncer)",
        found.join(", "), statements.join("; ")
    )]
    Settings {
        /// The role.
        role: String,
        /// The settings that differ, such as `search_path = "$user", public`.
        found: Vec<String>,
        /// The statements that correct them, without `;`.
        statements: Vec<String>,
    },

    /// No second session was free, which the check needs.
    #[error(
        "the pooler has given no second session of the server within {within:?}: it has a single one \
         for this user and database, or all are in use. Increase their number (default_pool_size of \
         PgBouncer)"
    )]
    OneSession {
        /// How long the check waited.
        within: Duration,
    },

    /// A prepared statement is not known in another session.
    #[error(
        "the pooler does not keep the prepared statements of its clients apart: {reason}. Use \
         PgBouncer 1.21 or newer with max_prepared_statements above 0, another pooler in session \
         mode, or none"
    )]
    MixesStatements {
        /// What happened.
        reason: String,
    },

    /// The pooler did not change the session in time, although it shares sessions.
    #[error(
        "whether the pooler keeps the prepared statements of its clients apart could not be seen \
         within {within:?}; try again, or use a pooler in session mode"
    )]
    Unproven {
        /// How long the check took.
        within: Duration,
    },
}

impl PoolerError {
    /// Returns the error inside an error of SeaORM, if there is one: a connection that is opened
    /// later is refused if the settings have changed.
    #[must_use]
    pub fn find(error: &DbErr) -> Option<&Self> {
        marker::find(error)
    }
}
