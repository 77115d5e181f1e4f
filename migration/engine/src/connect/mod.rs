//! Connections to a database, and their errors.

#[cfg(feature = "cli")]
mod args;
mod cause;
mod opening;
mod same_database;
#[cfg(feature = "cli")]
mod secret;
mod session_options;
mod sessions;
mod url;

use std::time::Duration;

use sea_orm::{
    ConnectOptions, DatabaseConnection, DbErr,
    sqlx::{self, ConnectOptions as _, Connection, postgres::PgConnectOptions},
};
use thiserror::Error;

use crate::db_error::connection_error;

#[cfg(feature = "cli")]
pub use args::{
    Connected, DatabaseArgs, LocateError, Located, VARIABLES, variables_help,
    without_empty_variables,
};
pub use cause::Cause;
pub(crate) use cause::explain;
pub use opening::{Opening, held_back};
pub use same_database::is_same_database;
#[cfg(feature = "cli")]
pub use secret::{Secret, SecretError, given};
pub use session_options::SessionOptions;
pub(crate) use sessions::{is_shared, new_mark};
pub use url::with_database;

/// Why connections share sessions, and what to do.
pub(crate) const TRANSACTION_MODE: &str = "goes through a pooler in transaction mode. Connect to \
     PostgreSQL directly, or to a pooler in session mode";

/// Name of the variable with the URL past the pooler.
pub(crate) const DIRECT_VARIABLE: &str = "TENANTRY_DIRECT_URL";

/// Default time limit for the first connection.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Error of a connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is invalid. The message does not contain it, because it may contain a password.
    #[error(
        "DATABASE_URL is not a PostgreSQL URL. Write it as postgres://user:password@host:port/name, \
         with %40 for @, %2F for / and so on in user, password and name"
    )]
    BadUrl,
    /// The server does not respond, or refuses the connection.
    #[error("cannot connect to database {database:?} at {host}:{port}: {}", explain(source))]
    Unreachable {
        /// Host, or folder of the Unix socket.
        host: String,
        /// TCP port.
        port: u16,
        /// Name of the database.
        database: String,
        /// Error of the driver; [`Cause::of`] classifies it.
        #[source]
        source: DbErr,
    },
    /// A pooler shares sessions of the server between its clients.
    #[error(
        "the connection {TRANSACTION_MODE}, or give a URL past the pooler as well \
         ({DIRECT_VARIABLE})"
    )]
    SharedSessions,
}

impl ConnectError {
    /// The message for the connection past a pooler, whose URL has the name `url`.
    #[must_use]
    pub fn of_direct_url(&self, url: &str) -> String {
        match self {
            Self::SharedSessions => format!("the connection of {url} {TRANSACTION_MODE}"),
            error => error.to_string().replace("DATABASE_URL", url),
        }
    }
}

/// Connection options for a URL, without parameters that the driver does not support: it would log
/// them with their values. Statements are logged at the level `DEBUG`.
///
/// # Errors
/// [`ConnectError::BadUrl`].
pub fn options(url: &str) -> Result<ConnectOptions, ConnectError> {
    let checked = url::check(url)?;
    checked.warn_if_cut();
    let mut options = ConnectOptions::new(checked.text);
    options.sqlx_logging_level(tracing::log::LevelFilter::Debug);
    Ok(options)
}

/// Opens a pool for a command, with this number of connections.
///
/// # Errors
/// [`ConnectError::BadUrl`], [`ConnectError::Unreachable`] and [`ConnectError::SharedSessions`].
pub async fn connect_pool(url: &str, connections: u32) -> Result<DatabaseConnection, ConnectError> {
    let mut options = options(url)?;
    options
        .max_connections(connections)
        .acquire_timeout(TIMEOUT)
        // A ping before each statement would be one more round trip.
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .sqlx_logging(false)
        // The pool limits how long a connection may take to open; so the first statement is a part
        // of that.
        .map_sqlx_postgres_pool_opts(|options| {
            options.after_connect(|connection, _| {
                Box::pin(
                    async move { sqlx::raw_sql("SELECT 1").execute(connection).await.map(drop) },
                )
            })
        });
    open_own(options).await
}

/// Like [`open`], and checks that every connection has its own session on the server.
///
/// # Errors
/// As for [`open`], and [`ConnectError::SharedSessions`].
pub async fn open_own(options: ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    open_as(options, true).await
}

/// Opens a pool. Errors contain host, port and database, but never the password.
///
/// # Errors
/// [`ConnectError::BadUrl`] and [`ConnectError::Unreachable`].
pub async fn open(options: ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    open_as(options, false).await
}

async fn open_as(options: ConnectOptions, own: bool) -> Result<DatabaseConnection, ConnectError> {
    url::check(options.get_url())?.warn_if_cut();
    let session =
        SessionOptions::new(&options, PgConnectOptions::disable_statement_logging).await?;
    let parsed = session.driver();
    let unreachable = |source| ConnectError::Unreachable {
        host: match parsed.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => parsed.get_host().to_owned(),
        },
        port: parsed.get_port(),
        database: session.database().to_owned(),
        source,
    };
    // A pool retries until its timeout and reports only that; a single connection reports the cause.
    let first = async {
        let opening = Opening::within(options.get_acquire_timeout().unwrap_or(TIMEOUT));
        let mut connection = opening.connect(parsed).await?;
        opening.first(sqlx::raw_sql("SELECT 1").execute(&mut connection)).await?;
        let shared = own && is_shared(&mut connection, &new_mark(), parsed).await?;
        // An error is irrelevant here.
        let _ = connection.close().await;
        Ok(shared)
    };
    if first.await.map_err(|error| unreachable(connection_error(error)))? {
        return Err(ConnectError::SharedSessions);
    }
    session.open_pool(options).await.map_err(unreachable)
}
