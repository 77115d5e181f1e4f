//! Timeouts of the pool, and the errors of connections that exceed them.
//!
//! Every wait has a bound, because a network that fails silently answers nothing, not even an
//! error. A connection whose answer is overdue is closed.

use std::{io, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, postgres::PgDatabaseError, postgres::PgSeverity},
};
use tenantry_migrate::{DbErrorKind, driver_error};
use tokio::time::timeout;

/// For the answer to a ping or a `ROLLBACK`, and for closing a connection.
pub(super) const CLEANUP: Duration = Duration::from_secs(1);

/// For the rest of a statement whose caller has gone. A statement that ends within this time keeps
/// its connection; any other is ended by closing it.
pub(super) const CANCEL_GRACE: Duration = Duration::from_millis(25);

/// For the server to notice that a connection was closed. It checks every second.
pub(super) const DISCONNECT_NOTICED: Duration = Duration::from_millis(1500);

/// For a new connection, before an idle one of another slot is taken instead.
pub(super) const CONNECT_HEAD_START: Duration = Duration::from_millis(50);

/// An answer that is overdue for this long makes all connections suspect: the network may be down.
pub(super) const SUSPECT_AFTER: Duration = Duration::from_secs(5);

/// Lifetime of a connection to a server that accepts no writes: another server may have become the
/// primary behind the same address.
pub(super) const READ_ONLY_LIFETIME: Duration = Duration::from_secs(1);

/// For one statement of a transaction that creates or drops a tenant.
pub(super) const DDL: Duration = Duration::from_secs(10 * 60);

/// For one statement of a transaction that copies a tenant, such as the foreign key of a large table.
pub(super) const TRANSFER: Duration = Duration::from_secs(6 * 60 * 60);

/// For the next part of a `COPY`.
pub(super) const COPY_STEP: Duration = DDL;

/// For a reader or a writer of an export that makes no progress.
pub(in super::super) const STALLED: Duration = Duration::from_secs(5 * 60);

/// How much longer than `statement_timeout` an answer may take. The server ends the statement
/// itself unless it cannot be reached.
const MARGIN: Duration = Duration::from_secs(5);

/// For the answer to a statement that the server ends after `statement_timeout`.
pub(super) fn answer_timeout(statement_timeout: Option<Duration>) -> Option<Duration> {
    let timeout = statement_timeout.filter(|time| !time.is_zero());
    timeout.map(|time| time.saturating_add(MARGIN))
}

/// Bounds the whole of a creation, whose statements are bounded one by one.
pub(in super::super) async fn bounded<T, E: From<DbErr>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(DDL, work).await.unwrap_or_else(|_| Err(no_answer(DDL).into()))
}

/// The answer, or that it is overdue.
pub(super) async fn within<T>(
    bound: Option<Duration>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match bound {
        Some(bound) => timeout(bound, answer).await.unwrap_or_else(|_| Err(overdue(bound))),
        None => answer.await,
    }
}

pub(super) fn overdue(after: Duration) -> sqlx::Error {
    let text = format!("no answer from the server within {after:?}; the connection is closed");
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}

pub(in super::super) fn no_answer(after: Duration) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(overdue(after).into()))
}

/// An earlier statement has lost the connection.
pub(super) fn connection_lost() -> DbErr {
    let text = "the connection was lost during an earlier statement; begin again";
    let error = sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, text));
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

/// Whether the answer is overdue.
pub(super) fn is_timeout(error: &DbErr) -> bool {
    io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Whether the connection cannot be used any more.
pub(super) fn is_broken(error: &DbErr) -> bool {
    match driver_error(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)) => true,
        Some(sqlx::Error::Database(error)) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => false,
    }
}

/// Whether the server does not know a statement that was prepared on the connection (26000). Then
/// it knows none of them.
pub(super) fn lost_prepared_statements(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error).as_deref() == Some("26000")
}

/// Whether a statement was not sent completely, so that the server has done nothing: its process
/// had ended before. Only a Unix socket reports that so early; over TCP the error is one of reading.
pub(in super::super) fn was_unsent(error: &DbErr) -> bool {
    io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn io_error(error: &DbErr) -> Option<&io::Error> {
    match driver_error(error) {
        Some(sqlx::Error::Io(error)) => Some(error),
        _ => None,
    }
}
