//! Deletion of old entries, and of earlier slugs that have expired.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};
use tokio::time::sleep;
use tracing::{debug, info};

use crate::{Error, Tenancy, pool::PoolHandle};

/// When a process begins, so that a short command does not.
const FIRST: Duration = Duration::from_secs(60);

/// How often it looks for old entries.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Rows that one statement deletes, so that it takes milliseconds.
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

    /// Deletes the rows of earlier slugs whose reservation has ended, and returns their number. They
    /// have no effect any more. Every process does so each hour.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn delete_expired_aliases(&self) -> Result<u64, Error> {
        Ok(delete_expired_aliases(&self.inner.db).await?)
    }
}

/// Deletes old entries, unless all are kept, and expired aliases now and then.
pub(crate) async fn run(db: PoolHandle, retention: Option<Duration>) {
    sleep(FIRST).await;
    loop {
        if let Some(retention) = retention {
            report(delete_old(&db, retention).await, "old entries of the audit log");
        }
        report(delete_expired_aliases(&db).await, "earlier slugs that have expired");
        sleep(PERIOD).await;
    }
}

fn report(deleted: Result<u64, DbErr>, what: &str) {
    match deleted {
        Ok(0) => {}
        Ok(deleted) => info!(deleted, "{what} were deleted"),
        Err(error) => debug!(%error, "{what} could not be deleted"),
    }
}

async fn delete_old(db: &PoolHandle, retention: Duration) -> Result<u64, DbErr> {
    // Processes that do this at the same time skip each other's entries.
    let sql = "DELETE FROM registry.audit WHERE id IN (
            SELECT id FROM registry.audit WHERE at < clock_timestamp() - $2 * interval '1 second'
            ORDER BY at LIMIT $1 FOR UPDATE SKIP LOCKED)";
    // A thousand years fit into an interval.
    delete_in_batches(db, sql, &[retention.as_secs_f64().min(3e10).into()]).await
}

async fn delete_expired_aliases(db: &PoolHandle) -> Result<u64, DbErr> {
    let sql = "DELETE FROM registry.aliases WHERE slug IN (
            SELECT slug FROM registry.aliases WHERE expires_at <= $2
            LIMIT $1 FOR UPDATE SKIP LOCKED)";
    delete_in_batches(db, sql, &[tenantry_registry::now().into()]).await
}

/// Repeats a statement that deletes at most $1 rows.
async fn delete_in_batches(db: &PoolHandle, sql: &str, values: &[Value]) -> Result<u64, DbErr> {
    let mut deleted = 0;
    loop {
        let values = [(BATCH as i64).into()].into_iter().chain(values.iter().cloned());
        let delete = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let batch = db.execute_raw(delete).await?.rows_affected();
        deleted += batch;
        if batch < BATCH {
            return Ok(deleted);
        }
        sleep(PAUSE).await;
    }
}
