//! The state in which every tenant finds a session.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use sea_orm::sqlx::{self, AssertSqlSafe, Executor, PgConnection, Row, postgres::PgRow};
use tenantry_migrate::notice_lost_client;

use super::{
    memory,
    write_access::{EXACT_TEXT, SessionState, WriteAccess},
};
use crate::PlanCacheMode;

/// Undoes what statements may have changed in a session, except for its prepared statements: these
/// are the driver's, since a connection on which others may have been prepared is closed. Otherwise
/// the same as DISCARD ALL, which cannot be part of a batch.
pub(super) const RESET: &str = "\
    RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; ";

/// The end of a transaction through a pooler, whose statements may have changed the session: a
/// rollback alone keeps session locks.
pub(super) static ROLLBACK_AND_RESET: LazyLock<String> =
    LazyLock::new(|| format!("ROLLBACK; {RESET}"));

/// Settings of a session, applied when it is opened and again when it is reset. By statement, since
/// poolers drop start-up options.
#[derive(Clone)]
pub(in super::super) struct SessionSettings {
    /// The schemas of extensions as they are appended to a `search_path`, each after a comma. They
    /// need no escape in a literal.
    pub(in super::super) extensions: Arc<str>,
    pub(in super::super) statement_timeout: Option<Duration>,
    pub(in super::super) idle_in_transaction_timeout: Option<Duration>,
    pub(in super::super) plan_cache_mode: PlanCacheMode,
}

impl SessionSettings {
    /// Applies the settings to a new connection, in one round trip. Returns whether the server
    /// accepts writes, and whether the role may ask for the memory of its process.
    pub(super) async fn apply(
        &self,
        connection: &mut PgConnection,
    ) -> Result<SessionState, sqlx::Error> {
        let row = last_row(connection, &self.sql()).await?;
        if !row.try_get("kept")? {
            let text = "the server does not keep the settings of a session; connect to PostgreSQL \
                        itself, or to a pooler in session mode";
            return Err(sqlx::Error::Configuration(text.into()));
        }
        if !row.try_get("own_transaction")? {
            let text = "after_connect has left a transaction open; end it in the callback";
            return Err(sqlx::Error::Configuration(text.into()));
        }
        let writes = WriteAccess::of(row.try_get("standby")?, row.try_get("read_only")?);
        let (has_exact_text, may_ask_memory) =
            (row.try_get("exact_text")?, row.try_get("may_ask_memory")?);
        Ok(SessionState { writes, has_exact_text, may_ask_memory })
    }

    /// Resets a session to these settings, in one round trip. Returns false if it is in a
    /// transaction that began earlier.
    pub(super) async fn reset(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let row = last_row(connection, &format!("{RESET}{}", self.sql())).await?;
        Ok(row.try_get("kept")? && row.try_get("own_transaction")?)
    }

    /// On Linux the server notices within a second that a client has closed its connection, and
    /// within half a minute that a client is unreachable; elsewhere it may reject these settings
    /// (PostgreSQL manual, 20.3.2 and 20.3.3).
    fn sql(&self) -> String {
        // None of these schemas has tables, so a table without a schema is found neither in a
        // tenant's schema nor in `public`.
        let search_path = &*format!("pg_catalog{}", self.extensions);
        let [statement, idle] =
            [self.statement_timeout, self.idle_in_transaction_timeout].map(milliseconds);
        let settings = [
            ("search_path", search_path),
            // Required by the lexer of `tenantry_migrate::sql`.
            ("standard_conforming_strings", "on"),
            ("statement_timeout", &statement.to_string()),
            ("idle_in_transaction_session_timeout", &idle.to_string()),
            ("plan_cache_mode", self.plan_cache_mode.setting()),
        ];
        let set = settings.map(|(name, value)| format!("set_config('{name}', '{value}', false)"));
        format!(
            "SELECT {}, {}; \
             SELECT current_setting('search_path') = '{search_path}' \
             AND current_setting('standard_conforming_strings')::boolean AS kept, \
             now() = statement_timestamp() AS own_transaction, \
             {EXACT_TEXT} AS exact_text, \
             pg_is_in_recovery() AS standby, \
             current_setting('transaction_read_only')::boolean AS read_only, \
             {} AS may_ask_memory",
            set.join(", "),
            notice_lost_client(false),
            memory::MAY_ASK,
        )
    }
}

/// A timeout as PostgreSQL expects it; 0 is none.
pub(in super::super) fn milliseconds(timeout: Option<Duration>) -> i32 {
    let time = timeout.filter(|time| !time.is_zero());
    time.map_or(0, |time| i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1))
}

async fn last_row(connection: &mut PgConnection, sql: &str) -> Result<PgRow, sqlx::Error> {
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    rows.into_iter().next_back().ok_or(sqlx::Error::RowNotFound)
}
