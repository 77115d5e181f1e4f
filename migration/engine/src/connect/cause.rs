use std::{fmt, io::ErrorKind};

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use super::POOLER_IS_FULL;

/// Why there is no connection, in words that name neither host nor user nor database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing listens on the port, or behind the socket.
    Refused,
    /// There is no socket in the folder.
    NoSocket,
    /// Any other failure on the way to the server: the name of the host, the network.
    Unreachable,
    /// No answer in time.
    Silent,
    /// The connection has ended: mostly by the server.
    Ended,
    /// 28xxx: wrong user or password, or a rule of the server that excludes them.
    Authentication,
    /// 3D000: the database does not exist.
    NoDatabase,
    /// 55000 or 57P0x: the server is starting or stopping, or the database is closed to all.
    NotAccepting,
    /// 53300: the server has no connection left.
    TooMany,
    /// 08P01: a pooler does not accept a setting that the connection begins with.
    Setting,
    /// TLS could not be agreed upon.
    Tls,
    /// The answer is not that of a PostgreSQL server.
    NotPostgres,
    /// Anything else.
    Other,
}

impl Cause {
    /// Sorts an error of a connection; `None` for an error of anything else.
    #[must_use]
    pub fn of(error: &DbErr) -> Option<Self> {
        match error {
            DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(Self::of_driver(error)),
            DbErr::Conn(_) => Some(Self::Other),
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
                _ => Self::Unreachable,
            },
            sqlx::Error::Database(error) => match error.code().unwrap_or_default().as_ref() {
                "3D000" => Self::NoDatabase,
                "53300" => Self::TooMany,
                "55000" | "57P01" | "57P02" | "57P03" => Self::NotAccepting,
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

    /// What to do about it, for the one who has set the database URL.
    fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused => "is the server running, and does it listen there?",
            Self::NoSocket => "is the server running, and is its socket in that folder?",
            Self::Unreachable => "check host and port in DATABASE_URL",
            Self::Silent => "check host and port in DATABASE_URL, and the firewalls on the way",
            Self::Ended => "check that a PostgreSQL server listens there, and see its log",
            Self::Authentication => "check user and password in DATABASE_URL",
            Self::NoDatabase => "create it, or name another one in DATABASE_URL",
            Self::NotAccepting => "try again in a moment",
            Self::TooMany => "close other connections, or raise max_connections of the server",
            Self::Setting => "name the setting in ignore_startup_parameters of the pooler",
            Self::Tls => "check sslmode in DATABASE_URL",
            Self::NotPostgres => "check that a PostgreSQL server listens there",
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
            Self::Ended => "the connection has ended",
            Self::Authentication => "user or password refused",
            Self::NoDatabase => "the database does not exist",
            Self::NotAccepting => "the server accepts no connections at the moment",
            Self::TooMany => "the server has too many connections",
            Self::Setting => "a pooler does not accept a setting of the connection",
            Self::Tls => "TLS failed",
            Self::NotPostgres => "the answer is not that of a database server",
            Self::Other => "the connection failed",
        })
    }
}

/// The cause and its remedy in one line: what the server says where it says something, never more
/// of the database URL than that.
pub(crate) fn explain(error: &DbErr) -> String {
    if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) = error {
        return format!("no connection answered its first statement in time; {POOLER_IS_FULL}");
    }
    let cause = Cause::of(error).unwrap_or(Cause::Other);
    let said = match error {
        DbErr::Conn(RuntimeErr::SqlxError(error)) => match error.as_ref() {
            sqlx::Error::Database(error) => error.message().to_owned(),
            // Our own text, for a wait that was given up.
            sqlx::Error::Io(error) if is_own(error) => return error.to_string(),
            sqlx::Error::Io(error) if cause == Cause::Unreachable => error.to_string(),
            sqlx::Error::Tls(error) => format!("{cause}: {error}"),
            error if cause == Cause::Other => error.to_string(),
            _ => cause.to_string(),
        },
        error => error.to_string(),
    };
    match cause.remedy() {
        Some(remedy) => format!("{said}; {remedy}"),
        None => said,
    }
}

fn is_own(error: &std::io::Error) -> bool {
    let given_up = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::NotConnected);
    given_up && error.get_ref().is_some()
}
