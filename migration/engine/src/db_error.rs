//! Kinds of database errors.

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        self,
        error::DatabaseError,
        postgres::{PgDatabaseError, PgSeverity},
    },
};

/// The driver's error inside a [`DbErr`], if it has one.
#[must_use]
pub fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

pub(crate) fn connection_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

pub(crate) fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

pub(crate) fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// Kind of a database error.
///
/// Decided by SQLSTATE (PostgreSQL manual, appendix A), never by the message, except for the name of
/// a constraint, which a Citus worker sends only in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DbErrorKind {
    /// 23505: violation of the unique constraint of this name.
    Unique(String),
    /// 23503: violation of the foreign key of this name.
    ForeignKey(String),
    /// 40001 or 40P01: a serialization failure or a deadlock. Retry the transaction.
    SerializationConflict,
    /// XX000, or 23505 on an index of the system catalog: another transaction changed the same
    /// catalog row at the same time. Retry the transaction.
    CatalogRace,
    /// 42710: an object of this name exists. If another transaction has just created it, a
    /// statement with `IF NOT EXISTS` succeeds when it is retried.
    DuplicateObject,
    /// 42501: insufficient privilege.
    InsufficientPrivilege,
    /// 55P03: `lock_timeout` expired, or a lock was not available with `NOWAIT`.
    LockTimeout,
    /// A prepared statement no longer fits after a migration (0A000), or the server does not have
    /// it (26000). It works when it is prepared again. Unsupported features have SQLSTATE 0A000,
    /// too.
    StaleStatement,
    /// 42P06: a schema of this name exists; or, when two transactions create one at the same time,
    /// 23505 on `pg_namespace_nspname_index`.
    DuplicateSchema,
    /// 3F000 or 42P01: the schema or the table does not exist.
    UndefinedTable,
    /// 55P04 or 55006: a new enum value is used in the transaction that added it, or a table with
    /// pending trigger events is altered. It works after a commit.
    NeedsCommit,
    /// 57014: the statement was cancelled, such as by `statement_timeout`.
    Timeout,
    /// 25006: a write in a read-only transaction or on a standby.
    ReadOnly,
    /// No connection of the pool became free in time.
    PoolTimeout,
    /// The server cannot be reached or cannot work now: no connection, no answer in time, class 08
    /// (connection), 53 (disk, memory, connections), 57P (shutdown), 58 (system error), or 25P03
    /// and 25P04 (the server ended a transaction that took too long).
    Unavailable,
    /// The server works, but another one that it needs for the statement cannot be reached, such as
    /// the Citus node with the tenant's tables: class 08 (except 08P01) or 57P01 as an error of the
    /// statement, after which the connection goes on.
    NodeUnavailable,
    /// The server, or a pooler in front of it, permanently rejects the connection: 08P01, 0A000,
    /// 28xxx (password, role) or 3D000 (database) while connecting.
    Refused,
    /// Any other error.
    Other,
}

impl DbErrorKind {
    /// Returns the kind of `error`.
    #[must_use]
    pub fn of(error: &DbErr) -> Self {
        let Some(driver) = driver_error(error) else {
            return match error {
                DbErr::ConnectionAcquire(_) => Self::PoolTimeout,
                _ => Self::Other,
            };
        };
        let kind = match driver {
            sqlx::Error::Database(error) => Self::of_server(error.as_ref()),
            sqlx::Error::PoolTimedOut => Self::PoolTimeout,
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable
            }
            _ => Self::Other,
        };
        match (kind, error) {
            (_, DbErr::Conn(_)) if is_refusal(driver) => Self::Refused,
            (Self::NodeUnavailable, DbErr::Conn(_)) => Self::Unavailable,
            // Connecting failed, not a statement.
            (Self::Other | Self::ReadOnly, DbErr::Conn(_)) => Self::Unavailable,
            (kind, _) => kind,
        }
    }

    /// Returns the SQLSTATE that the server sent, if it did.
    #[must_use]
    pub fn sqlstate(error: &DbErr) -> Option<String> {
        Some(driver_error(error)?.as_database_error()?.code()?.into_owned())
    }

    fn of_server(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        let constraint = || match error.constraint() {
            Some(name) => name.to_owned(),
            None => constraint_from_message(error.message()).to_owned(),
        };
        match code.as_ref() {
            "23505" => match constraint() {
                name if name == "pg_namespace_nspname_index" => Self::DuplicateSchema,
                name if name.starts_with("pg_") && is_in_catalog(error) => Self::CatalogRace,
                name => Self::Unique(name),
            },
            "42P06" => Self::DuplicateSchema,
            "23503" => Self::ForeignKey(constraint()),
            "40001" | "40P01" => Self::SerializationConflict,
            "XX000" if is_concurrent_catalog_update(error) => Self::CatalogRace,
            "42710" => Self::DuplicateObject,
            "42501" => Self::InsufficientPrivilege,
            "55P03" => Self::LockTimeout,
            "0A000" if is_stale(error) => Self::StaleStatement,
            "26000" => Self::StaleStatement,
            "3F000" | "42P01" => Self::UndefinedTable,
            "55P04" | "55006" => Self::NeedsCommit,
            "57014" => Self::Timeout,
            "25006" => Self::ReadOnly,
            "25P03" | "25P04" => Self::Unavailable,
            code if is_of_node(error, code) => Self::NodeUnavailable,
            code if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => {
                Self::Unavailable
            }
            _ => Self::Other,
        }
    }
}

/// Whether connecting again would fail for the same reason.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| {
        ["08P01", "0A000", "3D000"].contains(&code.as_ref()) || code.starts_with("28")
    })
}

/// Whether the result type of a prepared statement has changed. Recognized by the name of the
/// server's function, since messages are translated.
fn is_stale(error: &dyn DatabaseError) -> bool {
    routine(error) == Some("RevalidateCachedQuery")
}

/// Whether another transaction changed or removed the same row of the system catalog.
fn is_concurrent_catalog_update(error: &dyn DatabaseError) -> bool {
    let routines = [
        "simple_heap_update",
        "simple_heap_delete",
        "simple_table_tuple_update",
        "simple_table_tuple_delete",
        "heap_inplace_lock",
        "relation_open",
    ];
    routine(error).is_some_and(|routine| routines.contains(&routine))
}

/// Whether the error is that of a connection between servers: Citus reports one as an error of the
/// statement (`connection/remote_commands.c`, `ReportConnectionError`: 08006), and forwards those of
/// a node that is shut down (57P01). The server's own end the session. 08P01 is what poolers report.
fn is_of_node(error: &dyn DatabaseError, code: &str) -> bool {
    let is_connection = code.starts_with("08") && code != "08P01" || code == "57P01";
    let error = error.try_downcast_ref::<PgDatabaseError>();
    is_connection && error.map(PgDatabaseError::severity) == Some(PgSeverity::Error)
}

fn is_in_catalog(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.and_then(|error| error.schema()).is_some_and(|schema| schema == "pg_catalog")
}

fn routine(error: &dyn DatabaseError) -> Option<&str> {
    error.try_downcast_ref::<PgDatabaseError>()?.routine()
}

/// The constraint in a message such as `… violates unique constraint "guards_pkey_102008"`,
/// without the shard number that a Citus worker appends.
fn constraint_from_message(message: &str) -> &str {
    let name = message.split('"').nth(1).unwrap_or_default();
    match name.rsplit_once('_') {
        Some((rest, shard)) if !shard.is_empty() && shard.bytes().all(|b| b.is_ascii_digit()) => {
            rest
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_connection_errors_as_unavailable() {
        let error = || sqlx::Error::Protocol("odd".to_owned());
        assert_eq!(DbErrorKind::of(&connection_error(error())), DbErrorKind::Unavailable);
        assert_eq!(DbErrorKind::of(&query_error(error())), DbErrorKind::Other);
    }

    #[test]
    fn finds_constraint_in_message_of_citus_worker() {
        for (name, wanted) in
            [("guards_pkey_102008", "guards_pkey"), ("guards_pkey", "guards_pkey")]
        {
            let message = format!("duplicate key value violates unique constraint \"{name}\"");
            assert_eq!(constraint_from_message(&message), wanted);
        }
        assert_eq!(constraint_from_message("no name here"), "");
    }
}
