use std::fmt;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tenantry_registry::SchemaName;

/// A session that has a lock on a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Its server process; none for a prepared transaction.
    pub pid: Option<i32>,
    /// What it calls itself (`application_name`), where the server says so.
    pub application: Option<String>,
    /// Since when it is in a transaction, where that was asked for and the server says so.
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

/// The sessions that have locks on relations of a schema, ten at most.
///
/// # Errors
/// The errors of the database.
pub async fn lock_holders(
    db: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<Vec<LockHolder>, DbErr> {
    let holders = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT DISTINCT l.pid, a.application_name::text FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_class c ON c.oid = l.relation
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.database = (SELECT oid FROM pg_catalog.pg_database
                             WHERE datname = current_database())
         AND n.nspname = $1 AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
         ORDER BY 1 LIMIT 10",
        [schema.as_str().into()],
    );
    let rows = db.query_all_raw(holders).await?.into_iter();
    rows.map(|row| {
        let (pid, application) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        Ok(LockHolder { pid, application, since: None })
    })
    .collect()
}

/// The sessions that a server process waits for, the oldest transaction first, five at most.
pub(crate) async fn waited_for(
    db: &impl ConnectionTrait,
    pid: i32,
) -> Result<Vec<LockHolder>, DbErr> {
    let holders = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT nullif(b.pid, 0), a.application_name::text,
             to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SSOF')
         FROM unnest(pg_blocking_pids($1)) b (pid)
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
         ORDER BY a.xact_start LIMIT 5",
        [pid.into()],
    );
    let rows = db.query_all_raw(holders).await?.into_iter();
    rows.map(|row| {
        Ok(LockHolder {
            pid: row.try_get_by_index(0)?,
            application: row.try_get_by_index(1)?,
            since: row.try_get_by_index(2)?,
        })
    })
    .collect()
}
