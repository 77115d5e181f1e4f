//! Causes of failed connections.

use std::{fmt, io::ErrorKind};

use sea_orm::{ConnAcquireErr, DbErr, sqlx};

use super::opening::POOLER_IS_FULL;
use crate::db_error::driver_error;

/// A part of the driver's message if no TLS feature of it is on (sqlx-core, `net/tls/mod.rs`).
const NO_TLS: &str = "without TLS support";

/// The message of PgBouncer to a client for which no server connection was free in time.
const QUERY_WAIT_TIMEOUT: &str = "query_wait_timeout";

const WITHOUT_TLS: &str = "sslmode in DATABASE_URL requires TLS, but this program was built without \
     it. Build it with the feature `rustls` or `native-tls`, or change sslmode";

/// Cause of a failed connection, without host, user and database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing listens on the port or the socket.
    Refused,
    /// The socket does not exist.
    NoSocket,
    /// Another network error: host name, routing.
    Unreachable,
    /// No answer in time.
    Silent,
    /// The connection was closed, usually by the server.
    Ended,
    /// 28xxx: wrong user or password, or rejected by `pg_hba.conf`.
    Authentication,
    /// 3D000: the database does not exist.
    NoDatabase,
    /// 55000 or 57P0x: the server is starting or stopping, or the database accepts no connections.
    NotAccepting,
    /// 53300: all connections of the server are in use.
    TooMany,
    /// 08P01: a pooler does not support a startup parameter.
    Setting,
    /// TLS negotiation failed.
    Tls,
    /// The server does not speak the PostgreSQL protocol.
    NotPostgres,
    /// Anything else.
    Other,
}

impl Cause {
    /// Classifies a connection error; `None` for other errors.
    #[must_use]
    pub fn of(error: &DbErr) -> Option<Self> {
        match error {
            DbErr::Conn(_) => Some(driver_error(error).map_or(Self::Other, Self::of_driver)),
            _ => None,
        }
    }

    fn of_driver(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Self::Refused,
                ErrorKind::NotFound => Self::NoSocket,
                ErrorKind::TimedOut => Self::Silent,
                ErrorKind::UnexpectedEof
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::NotConnected => Self::Ended,
                // As rustls reports a certificate that it does not accept.
                ErrorKind::InvalidData => Self::Tls,
                _ => Self::Unreachable,
            },
            sqlx::Error::Database(error) => match error.code().unwrap_or_default().as_ref() {
                "3D000" => Self::NoDatabase,
                "53300" => Self::TooMany,
                "55000" | "57P01" | "57P02" | "57P03" => Self::NotAccepting,
                "08P01" if error.message() == QUERY_WAIT_TIMEOUT => Self::Silent,
                "08P01" => Self::Setting,
                code if code.starts_with("28") => Self::Authentication,
                _ => Self::Other,
            },
            sqlx::Error::Tls(_) => Self::Tls,
            sqlx::Error::Protocol(_) => Self::NotPostgres,
            sqlx::Error::PoolTimedOut => Self::Silent,
            _ => Self::Other,
        }
    }

    /// What to do, for the person who configures the database URL.
    fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused => "Is the server running, and does it listen there?",
            Self::NoSocket => "Is the server running, and is its socket in that directory?",
            Self::Unreachable => "Check host and port in DATABASE_URL",
            Self::Silent => "Check host and port in DATABASE_URL, and firewalls",
            Self::Ended => "Check that a PostgreSQL server listens there, and its log",
            Self::Authentication => "Check user and password in DATABASE_URL",
            Self::NoDatabase => "Create it, or change DATABASE_URL",
            Self::NotAccepting => "Try again in a moment",
            Self::TooMany => "Close other connections, or increase max_connections of the server",
            Self::Setting => "Add the setting to ignore_startup_parameters of the pooler",
            Self::Tls => "Check sslmode and sslrootcert in DATABASE_URL",
            Self::NotPostgres => "Check that a PostgreSQL server listens there",
            Self::Other => return None,
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::NoSocket => "no server listens there",
            Self::Unreachable => "the server cannot be reached",
            Self::Silent => "no answer in time",
            Self::Ended => "the connection was closed",
            Self::Authentication => "user or password rejected",
            Self::NoDatabase => "the database does not exist",
            Self::NotAccepting => "the server accepts no connections now",
            Self::TooMany => "the server has too many connections",
            Self::Setting => "a pooler does not accept a setting of the connection",
            Self::Tls => "TLS failed",
            Self::NotPostgres => "the answer is not that of a database server",
            Self::Other => "the connection failed",
        })
    }
}

/// The cause and its remedy in one line. Contains nothing of the database URL except what the
/// server's own message contains.
pub(crate) fn explain(error: &DbErr) -> String {
    if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) = error {
        return format!("no connection answered its first statement in time. {POOLER_IS_FULL}");
    }
    let cause = Cause::of(error).unwrap_or(Cause::Other);
    let said = match (error, driver_error(error)) {
        (DbErr::Conn(_), Some(driver)) => match driver {
            sqlx::Error::Database(error) if error.message() == QUERY_WAIT_TIMEOUT => {
                return format!(
                    "the pooler has no free connection ({QUERY_WAIT_TIMEOUT}). {POOLER_IS_FULL}"
                );
            }
            sqlx::Error::Database(error) => error.message().to_owned(),
            // An error of `Opening`.
            sqlx::Error::Io(error) if is_own(error) => return error.to_string(),
            sqlx::Error::Io(error) if matches!(cause, Cause::Unreachable | Cause::Tls) => {
                error.to_string()
            }
            sqlx::Error::Tls(error) if error.to_string().contains(NO_TLS) => {
                return WITHOUT_TLS.to_owned();
            }
            sqlx::Error::Tls(error) => format!("{cause}: {error}"),
            error if cause == Cause::Other => error.to_string(),
            _ => cause.to_string(),
        },
        (error, _) => error.to_string(),
    };
    match cause.remedy() {
        Some(remedy) => format!("{said}. {remedy}"),
        None => said,
    }
}

fn is_own(error: &std::io::Error) -> bool {
    let timed_out = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::NotConnected);
    timed_out && error.get_ref().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db_error::connection_error;

    #[test]
    fn tls_that_the_program_was_built_without_is_an_error_that_names_the_features() {
        let text = "TLS upgrade required by connect options but SQLx was built without TLS \
                    support enabled";
        let error = |text: &str| explain(&connection_error(sqlx::Error::Tls(text.into())));
        assert_eq!(error(text), WITHOUT_TLS);
        assert!(error("server does not support TLS").contains("Check sslmode"));
    }
}
