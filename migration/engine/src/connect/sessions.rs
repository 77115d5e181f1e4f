//! Whether every connection has a session of the server to itself.

use std::time::Duration;

use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tenantry_registry::TenantId;

use super::Opening;

/// How long a second connection is waited for. Nothing depends on it where every connection has a
/// session of its own.
const SECOND: Duration = Duration::from_secs(2);

/// How often the second connection asks between two questions of the first: with these numbers
/// they meet in a session, or leave one, whether the pooler takes its sessions in turn or the one
/// that was used last, and however many it has.
const ASKS: [usize; 3] = [1, 2, 3];

/// A value that no other session has.
pub(crate) fn new_mark() -> String {
    TenantId::generate().as_uuid().simple().to_string()
}

/// Whether the session of a connection is given to other connections too, as a pooler in
/// transaction mode does. The session has `mark` in its setting `tenantry.session` afterwards.
///
/// All statements are sent as text: such a pooler mixes up prepared ones. Only a session that is
/// seen to be shared counts; where no second connection can be had, none is.
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
    // That it may have to wait is nothing to be logged.
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
        // Whether it is closed in good order matters to nobody.
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
