//! Deletion of old entries.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::time::sleep;
use tracing::{debug, info};

use crate::{Error, Tenancy, pool::PoolHandle};

/// When a process begins, so that a short command does not.
const FIRST: Duration = Duration::from_secs(60);

/// How often it looks for old entries.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Entries that one statement deletes, so that it takes milliseconds.
const BATCH: u64 = 1000;

/// Pause between two statements, in which others get the connection.
const PAUSE: Duration = Duration::from_millis(100);

impl Tenancy {
    /// Deletes the entries of the audit log that are older than [`Config::audit_retention`], in small
    /// batches, and returns their number. Every process does so each hour.
    ///
    /// # Errors
    /// [`Error::Database`].
    ///
    /// [`Config::audit_retention`]: crate::Config::audit_retention
    pub async fn delete_old_audit_entries(&self) -> Result<u64, Error> {
        match self.inner.audit_retention {
            Some(retention) => Ok(delete_old(&self.inner.db, retention).await?),
            None => Ok(0),
        }
    }
}

/// Deletes old entries now and then.
pub(crate) async fn run(db: PoolHandle, retention: Duration) {
    sleep(FIRST).await;
    loop {
        match delete_old(&db, retention).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "old entries of the audit log were deleted"),
            Err(error) => debug!(%error, "old entries of the audit log could not be deleted"),
        }
        sleep(PERIOD).await;
    }
}

async fn delete_old(db: &PoolHandle, retention: Duration) -> Result<u64, DbErr> {
    // Processes that do this at the same time skip each other's entries.
    let sql = "DELETE FROM registry.audit WHERE id IN (
            SELECT id FROM registry.audit WHERE at < clock_timestamp() - $1 * interval '1 second'
            ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    // A thousand years fit into an interval.
    let seconds = retention.as_secs_f64().min(3e10);
    let mut deleted = 0;
    loop {
        let values = [seconds.into(), (BATCH as i64).into()];
        let delete = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let batch = db.execute_raw(delete).await?.rows_affected();
        deleted += batch;
        if batch < BATCH {
            return Ok(deleted);
        }
        sleep(PAUSE).await;
    }
}
