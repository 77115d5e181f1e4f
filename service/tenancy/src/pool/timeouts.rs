//! How long the server is waited for.
//!
//! Nothing here waits without a bound: a network that has gone answers nothing, not even an error.
//! A connection whose answer does not come in time is thrown away.

use std::{io, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError, postgres::PgSeverity},
};
use tenantry_migrate::DbErrorKind;
use tokio::time::timeout;

/// For the answer to a ping, a `ROLLBACK` or the end of a connection.
pub(super) const CLEANUP: Duration = Duration::from_secs(1);

/// For the rest of a statement that its caller has given up. A statement that is nearly done ends
/// in this time, and its connection is kept; all others are ended with their connection.
pub(super) const GRACE: Duration = Duration::from_millis(25);

/// For the server to notice that a connection was closed: it looks every second.
pub(super) const NOTICED: Duration = Duration::from_millis(1500);

/// For a new connection, before one that idles elsewhere is taken instead.
pub(super) const ELSEWHERE: Duration = Duration::from_millis(50);

/// After so long without an answer the network may have gone, with all connections.
pub(super) const SUSPICIOUS: Duration = Duration::from_secs(5);

/// How long a connection to a server that takes no writes is kept: another one may have become the
/// primary behind the same address.
pub(super) const READ_ONLY: Duration = Duration::from_secs(1);

/// For one statement of a transaction that creates or drops a tenant.
pub(super) const DDL: Duration = Duration::from_secs(10 * 60);

/// How much longer than `statement_timeout` an answer may take. The server ends the statement
/// itself, unless it cannot be reached.
const MARGIN: Duration = Duration::from_secs(5);

/// For the answer to a statement that the server ends after `statement_timeout`.
pub(super) fn answer(statement_timeout: Option<Duration>) -> Option<Duration> {
    let timeout = statement_timeout.filter(|time| !time.is_zero());
    timeout.map(|time| time.saturating_add(MARGIN))
}

/// Bounds all that is done in a transaction of SeaORM's own, whose statements are not bounded one
/// by one.
pub(in super::super) async fn bounded<T, E: From<DbErr>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(DDL, work).await.unwrap_or_else(|_| Err(no_answer(DDL).into()))
}

/// No answer in time.
pub(super) fn late(after: Duration) -> sqlx::Error {
    let text = format!("no answer from the server within {after:?}; the connection is closed");
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// No answer in time, as SeaORM tells of it.
pub(super) fn no_answer(after: Duration) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(late(after).into()))
}

/// An earlier statement has lost the connection.
pub(super) fn lost() -> DbErr {
    let text = "the connection was lost during an earlier statement; begin again";
    let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, text));
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

/// Whether the server has not answered in time.
pub(super) fn is_late(error: &DbErr) -> bool {
    matches!(driver_error(error), Some(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut)
}

/// Whether a connection is of no use any more.
pub(super) fn has_ended(error: &DbErr) -> bool {
    match driver_error(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)) => true,
        Some(sqlx::Error::Database(error)) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => false,
    }
}

/// Whether the server does not know a statement that was prepared on the connection (26000), and
/// so none of them.
pub(super) fn has_forgotten(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error).as_deref() == Some("26000")
}

/// Whether a statement has not been sent to its end, so that the server has done nothing: its
/// process had ended before. Only of a local server is that known so early; over TCP the error is
/// one of reading.
pub(in super::super) fn was_unsent(error: &DbErr) -> bool {
    matches!(driver_error(error), Some(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe)
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}
