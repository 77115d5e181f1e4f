//! Detection of sessions that several connections share.

use std::time::Duration;

use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tenantry_registry::TenantId;

use super::Opening;

/// Time limit for the second connection. Without one, sessions count as not shared.
const SECOND: Duration = Duration::from_secs(2);

/// Queries of the second connection between two queries of the first. With these numbers, both use
/// the same session at some time, or the first changes its session, whether the pooler assigns
/// sessions in turn or prefers the last one, and however many it has.
const ASKS: [usize; 3] = [1, 2, 3];

/// A unique value to mark a session.
pub(crate) fn new_mark() -> String {
    TenantId::generate().as_uuid().simple().to_string()
}

/// Whether other connections use the session of a connection, as with a pooler in transaction mode.
/// Sets `tenantry.session` to `mark`.
///
/// Uses the simple query protocol, because such a pooler confuses prepared statements.
pub(crate) async fn is_shared(
    connection: &mut PgConnection,
    mark: &str,
    options: &PgConnectOptions,
) -> Result<bool, sqlx::Error> {
    let set = format!("SELECT set_config('tenantry.session', '{mark}', false)");
    rows(connection, &set).await?;
    if mark_of(connection).await?.as_deref() != Some(mark) {
        return Ok(true);
    }
    // A slow statement is expected here.
    let options = options.clone().disable_statement_logging();
    let second = Opening::within(SECOND);
    let mut other = match second.connect(&options).await {
        Ok(mut other) => second.first(mark_of(&mut other)).await.ok().map(|_| other),
        Err(_) => None,
    };
    for asks in ASKS {
        for _ in 0..asks {
            let Some(second) = &mut other else { continue };
            match mark_of(second).await {
                Ok(found) if found.as_deref() == Some(mark) => return Ok(true),
                Ok(_) => {}
                Err(_) => other = None,
            }
        }
        if mark_of(connection).await?.as_deref() != Some(mark) {
            return Ok(true);
        }
    }
    if let Some(other) = other {
        // An error is irrelevant here.
        let _ = other.close().await;
    }
    Ok(false)
}

async fn mark_of(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let rows = rows(connection, "SELECT current_setting('tenantry.session', true)").await?;
    rows.first().map_or(Ok(None), |row| row.try_get(0))
}

async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await
}
