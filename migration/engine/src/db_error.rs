use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, error::DatabaseError},
};

/// What kind of failure a database error is: the one place where errors are sorted.
///
/// By SQLSTATE (PostgreSQL manual, appendix A), never by message text – but for the constraint's
/// name, which a Citus worker sends only as part of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DbErrorKind {
    /// 23505: a unique constraint of this name.
    Unique(String),
    /// 23503: a foreign key of this name.
    ForeignKey(String),
    /// 40001 or 40P01: the transaction lost against another and can be repeated.
    SerializationConflict,
    /// XX000 or a unique index of the system catalog (23505): another transaction has changed the
    /// same object of the database at the same moment, and this one can be repeated.
    CatalogRace,
    /// 42710: an object of this name exists. Where another transaction has just made it, a statement
    /// that looks before it makes the object works when it is repeated.
    DuplicateObject,
    /// 42501: the role may not do this.
    InsufficientPrivilege,
    /// 55P03: a lock was not to be had in time.
    LockTimeout,
    /// 0A000, of a statement that was prepared before a migration and no longer fits, or 26000, of
    /// one that the server does not know any more: prepared once more it works. Other features that
    /// are not supported have the first SQLSTATE, too.
    StaleStatement,
    /// 42P06: a schema of this name exists. While two transactions create one at the same moment,
    /// it is the unique constraint `pg_namespace_nspname_index` instead.
    DuplicateSchema,
    /// 3F000 or 42P01: the schema or the table does not exist.
    UndefinedTable,
    /// 55P04 or 55006: a new value of an enum is used in the transaction that has added it, or a
    /// table is altered that has rows whose deferred constraints are still to be checked. After a
    /// commit it works.
    NeedsCommit,
    /// 57014: the statement took too long.
    Timeout,
    /// 25006: a write in a transaction that is read-only, or on a server that is.
    ReadOnly,
    /// No connection became free in time.
    PoolTimeout,
    /// The server cannot be reached or cannot work now: no connection, no answer in time, class 08
    /// (connection), 53 (disk, memory, connections), 57P (shutdown) or 58 (system error), or 25P03
    /// and 25P04 (the server has ended a transaction that took too long).
    Unavailable,
    /// The server or a pooler before it refuses the connection, and will refuse the next one too:
    /// 08P01, 0A000, 28xxx (password, role), 3D000 (database) while connecting.
    Refused,
    /// Anything else.
    Other,
}

impl DbErrorKind {
    /// Sorts `error`.
    #[must_use]
    pub fn of(error: &DbErr) -> Self {
        let (DbErr::Exec(RuntimeErr::SqlxError(sqlx))
        | DbErr::Query(RuntimeErr::SqlxError(sqlx))
        | DbErr::Conn(RuntimeErr::SqlxError(sqlx))) = error
        else {
            return match error {
                DbErr::ConnectionAcquire(_) => Self::PoolTimeout,
                _ => Self::Other,
            };
        };
        let fault = match sqlx.as_ref() {
            sqlx::Error::Database(error) => Self::of_server(error.as_ref()),
            sqlx::Error::PoolTimedOut => Self::PoolTimeout,
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable
            }
            _ => Self::Other,
        };
        match (fault, error) {
            (_, DbErr::Conn(_)) if is_refusal(sqlx) => Self::Refused,
            // The connection is at fault, not a statement.
            (Self::Other | Self::ReadOnly, DbErr::Conn(_)) => Self::Unavailable,
            (fault, _) => fault,
        }
    }

    /// The SQLSTATE that the server sent, if it did.
    #[must_use]
    pub fn sqlstate(error: &DbErr) -> Option<String> {
        match error {
            DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error))
            | DbErr::Conn(RuntimeErr::SqlxError(error)) => {
                Some(error.as_database_error()?.code()?.into_owned())
            }
            _ => None,
        }
    }

    fn of_server(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        let constraint = || match error.constraint() {
            Some(name) => name.to_owned(),
            None => constraint_in(error.message()).to_owned(),
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
            "XX000" if has_changed_meanwhile(error) => Self::CatalogRace,
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
            code if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => {
                Self::Unavailable
            }
            _ => Self::Other,
        }
    }
}

/// Whether a connection fails for a reason that does not pass.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| {
        ["08P01", "0A000", "3D000"].contains(&code.as_ref()) || code.starts_with("28")
    })
}

/// Whether PostgreSQL has found that a prepared statement would return something else by now. Told
/// by the name of the server's function, since its messages are translated.
fn is_stale(error: &dyn DatabaseError) -> bool {
    routine(error) == Some("RevalidateCachedQuery")
}

/// Whether a row of the system catalog was changed or removed by another transaction. Recognized by
/// the server's function, as above.
fn has_changed_meanwhile(error: &dyn DatabaseError) -> bool {
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

fn is_in_catalog(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    error.and_then(|error| error.schema()).is_some_and(|schema| schema == "pg_catalog")
}

fn routine(error: &dyn DatabaseError) -> Option<&str> {
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?.routine()
}

/// The constraint named in a message such as `… violates unique constraint "guards_pkey_102008"`,
/// without the number of the shard that a Citus worker appends.
fn constraint_in(message: &str) -> &str {
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
    fn what_fails_while_connecting_is_the_servers_fault_and_no_statements() {
        let failure = || RuntimeErr::SqlxError(sqlx::Error::Protocol("odd".to_owned()).into());
        assert_eq!(DbErrorKind::of(&DbErr::Conn(failure())), DbErrorKind::Unavailable);
        assert_eq!(DbErrorKind::of(&DbErr::Query(failure())), DbErrorKind::Other);
    }

    #[test]
    fn a_constraint_is_found_in_a_message_of_a_citus_worker() {
        for (name, wanted) in
            [("guards_pkey_102008", "guards_pkey"), ("guards_pkey", "guards_pkey")]
        {
            let message = format!("duplicate key value violates unique constraint \"{name}\"");
            assert_eq!(constraint_in(&message), wanted);
        }
        assert_eq!(constraint_in("no name here"), "");
    }
}
