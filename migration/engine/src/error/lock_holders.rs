//! Sessions that hold locks which another session waits for.

use std::fmt;

use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use crate::sql::query::rows;

/// Session that holds a lock on a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// PID of its server process; `None` for a prepared transaction.
    pub pid: Option<i32>,
    /// Its `application_name`, if the role may see it.
    pub application: Option<String>,
    /// Start of its transaction, if it was queried and the role may see it.
    pub since: Option<String>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a prepared transaction")?,
        }
        match self.application.as_deref() {
            Some(application) if !application.is_empty() => write!(f, " ({application})")?,
            _ => {}
        }
        match &self.since {
            Some(since) => write!(f, ", in a transaction since {since}"),
            None => Ok(()),
        }
    }
}

impl LockHolder {
    fn from_row(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            pid: row.try_get_by_index(0)?,
            application: row.try_get_by_index(1)?,
            since: row.try_get_by_index(2)?,
        })
    }
}

/// Returns up to ten sessions that hold locks on relations of a schema, or on tables to which its
/// foreign keys refer: dropping them takes locks on both.
///
/// # Errors
/// The errors of the database.
pub async fn lock_holders(
    db: &impl ConnectionTrait,
    schema: &str,
) -> Result<Vec<LockHolder>, DbErr> {
    let sql = "SELECT DISTINCT l.pid, a.application_name::text, NULL::text
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_class c ON c.oid = l.relation
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.database = (SELECT oid FROM pg_catalog.pg_database
                             WHERE datname = current_database())
         AND (n.nspname = $1 OR c.oid IN (SELECT k.confrelid FROM pg_catalog.pg_constraint k
             JOIN pg_catalog.pg_namespace s ON s.oid = k.connamespace
             WHERE s.nspname = $1 AND k.contype = 'f'))
         AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
         ORDER BY 1 LIMIT 10";
    rows(db, sql, [schema.into()]).await?.iter().map(LockHolder::from_row).collect()
}

/// Returns up to five sessions that a server process waits for, oldest transaction first.
pub(crate) async fn waited_for(
    db: &impl ConnectionTrait,
    pid: i32,
) -> Result<Vec<LockHolder>, DbErr> {
    let sql = "SELECT nullif(b.pid, 0), a.application_name::text,
             to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SSOF')
         FROM unnest(pg_blocking_pids($1)) b (pid)
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
         ORDER BY a.xact_start LIMIT 5";
    rows(db, sql, [pid.into()]).await?.iter().map(LockHolder::from_row).collect()
}
