//! Connections to a database, and why there are none.

#[cfg(feature = "cli")]
mod args;
mod cause;
mod opening;
#[cfg(feature = "cli")]
mod secret;
mod sessions;
mod url;

use std::time::Duration;

use sea_orm::{
    ConnectOptions, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{self, ConnectOptions as _, Connection},
};
use thiserror::Error;

#[cfg(feature = "cli")]
pub use args::{
    Connected, DatabaseArgs, LocateError, Located, VARIABLES, variables_help,
    without_empty_variables,
};
pub use cause::Cause;
pub(crate) use cause::explain;
pub(crate) use opening::POOLER_IS_FULL;
pub use opening::{Opening, held_back};
#[cfg(feature = "cli")]
pub use secret::{Secret, SecretError, given};
pub(crate) use sessions::{is_shared, new_mark};

/// Why sessions are shared, and what to do.
pub(crate) const TRANSACTION_MODE: &str = "goes through a pooler in transaction mode; connect to \
     PostgreSQL itself, or to a pooler in session mode";

/// How long the first connection may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one. Its text is not repeated: it may hold a password.
    #[error(
        "DATABASE_URL is not a PostgreSQL URL: write it as postgres://user:password@host:port/name, \
         with %40 for @, %2F for / and so on in user, password and name"
    )]
    BadUrl,
    /// The server does not answer, or does not let us in.
    #[error("cannot connect to database {database:?} at {host}:{port}: {}", explain(source))]
    Unreachable {
        /// Host, or folder of the Unix socket.
        host: String,
        /// TCP port.
        port: u16,
        /// Name of the database.
        database: String,
        /// What the driver says; [`Cause::of`] sorts it.
        #[source]
        source: DbErr,
    },
    /// A pooler gives the sessions of the server to its clients in turn.
    #[error("the connection {TRANSACTION_MODE}")]
    SharedSessions,
}

/// Options for connections to the database of a URL, without parameters that the driver does not
/// read: it would log them with their values.
///
/// # Errors
/// [`ConnectError::BadUrl`].
pub fn options(url: &str) -> Result<ConnectOptions, ConnectError> {
    let checked = url::check(url)?;
    if checked.cut {
        tracing::warn!("DATABASE_URL has parameters that are not known here; they are ignored");
    }
    Ok(ConnectOptions::new(checked.text))
}

/// So many connections, for a command.
///
/// # Errors
/// [`ConnectError::BadUrl`], [`ConnectError::Unreachable`] and [`ConnectError::SharedSessions`].
pub async fn connect_pool(url: &str, connections: u32) -> Result<DatabaseConnection, ConnectError> {
    let mut options = options(url)?;
    options
        .max_connections(connections)
        .acquire_timeout(TIMEOUT)
        // Not before each statement: that would be one more round trip.
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .sqlx_logging(false)
        // A pool bounds how long a connection may take to open, so its first statement is part of
        // that.
        .map_sqlx_postgres_pool_opts(|options| {
            options.after_connect(|connection, _| {
                Box::pin(
                    async move { sqlx::raw_sql("SELECT 1").execute(connection).await.map(drop) },
                )
            })
        });
    open_own(options).await
}

/// Connects as [`open`] does, where every connection has a session of the server to itself.
///
/// # Errors
/// As for [`open`], and [`ConnectError::SharedSessions`].
pub async fn open_own(options: ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    open_as(options, true).await
}

/// Connects, with errors that say where to but never the password.
///
/// # Errors
/// [`ConnectError::BadUrl`] and [`ConnectError::Unreachable`].
pub async fn open(options: ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    open_as(options, false).await
}

async fn open_as(options: ConnectOptions, own: bool) -> Result<DatabaseConnection, ConnectError> {
    let conn = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let parsed = url::check(options.get_url())?.options.disable_statement_logging();
    let unreachable = |source| ConnectError::Unreachable {
        host: match parsed.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => parsed.get_host().to_owned(),
        },
        port: parsed.get_port(),
        // PostgreSQL's own default is the name of the user.
        database: parsed.get_database().unwrap_or(parsed.get_username()).to_owned(),
        source,
    };
    // A pool tries until its time is over and then says only that; one connection says why.
    let first = async {
        let opening = Opening::within(options.get_acquire_timeout().unwrap_or(TIMEOUT));
        let mut connection = opening.connect(&parsed).await?;
        opening.first(sqlx::raw_sql("SELECT 1").execute(&mut connection)).await?;
        let shared = own && is_shared(&mut connection, &new_mark(), &parsed).await?;
        // Whether it is closed in good order matters to nobody.
        let _ = connection.close().await;
        Ok(shared)
    };
    if first.await.map_err(|error| unreachable(conn(error)))? {
        return Err(ConnectError::SharedSessions);
    }
    #[expect(clippy::disallowed_methods, reason = "the one place where connections are made")]
    sea_orm::Database::connect(options).await.map_err(unreachable)
}
