//! Opening connections, and the settings that every session begins with.

use std::time::Duration;

use migration::notice_lost_client;
use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        self, AssertSqlSafe, Connection, PgConnection, PgPool, Row,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};
use tokio::time::timeout;

use super::bounds::late;

/// Opens connections that differ in nothing.
pub(super) struct Opener {
    options: PgConnectOptions,
    settings: Settings,
    within: Duration,
}

/// What a session is set to when it is opened.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) statement_timeout: Option<Duration>,
    pub(super) idle_in_transaction_timeout: Option<Duration>,
}

/// Whether a server accepts writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Writes {
    Accepted,
    /// `default_transaction_read_only` is on.
    ReadOnly,
    /// It replays another server's log.
    Standby,
}

impl Writes {
    pub(super) fn of(standby: bool, read_only: bool) -> Self {
        match (standby, read_only) {
            (true, _) => Self::Standby,
            (false, true) => Self::ReadOnly,
            (false, false) => Self::Accepted,
        }
    }
}

impl Opener {
    pub(super) fn new(options: PgConnectOptions, settings: Settings, within: Duration) -> Self {
        Self { options, settings, within }
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Opens a connection, with its settings made in one round trip more.
    pub(super) async fn open(&self) -> Result<(PgConnection, Writes), DbErr> {
        let opening = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let writes = self.settings.apply(&mut connection).await?;
            Ok((connection, writes))
        };
        let opened = timeout(self.within, opening).await;
        opened.unwrap_or_else(|_| Err(late(self.within))).map_err(no_connection)
    }

    /// A pool of one connection, for a transaction of SeaORM's own.
    pub(super) fn pool(&self, statement_timeout: Duration) -> PgPool {
        let settings = Settings { statement_timeout: Some(statement_timeout), ..self.settings };
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.within)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(move |connection, _| {
                Box::pin(async move { settings.apply(connection).await.map(drop) })
            })
            .connect_lazy_with(self.options.clone())
    }
}

impl Settings {
    async fn apply(self, connection: &mut PgConnection) -> Result<Writes, sqlx::Error> {
        let row = sqlx::raw_sql(AssertSqlSafe(self.sql())).fetch_one(connection).await?;
        Ok(Writes::of(row.try_get("standby")?, row.try_get("read_only")?))
    }

    /// By statement, since poolers drop start-up options. On Linux the server notices within a
    /// second that a client has closed its connection, and within half a minute that a client is
    /// unreachable; elsewhere it may refuse these settings (PostgreSQL manual, 20.3.2 and 20.3.3).
    fn sql(self) -> String {
        let set = |name: &str, value: &str| format!("set_config('{name}', '{value}', false)");
        let timeouts = [
            ("statement_timeout", self.statement_timeout),
            ("idle_in_transaction_session_timeout", self.idle_in_transaction_timeout),
        ];
        format!(
            "SELECT {}, {}, \
             pg_is_in_recovery() AS standby, \
             current_setting('transaction_read_only')::boolean AS read_only",
            timeouts.map(|(name, time)| set(name, &milliseconds(time).to_string())).join(", "),
            notice_lost_client(false),
        )
    }
}

/// As PostgreSQL takes a timeout; 0 is none.
pub(super) fn milliseconds(timeout: Option<Duration>) -> i32 {
    let time = timeout.filter(|time| !time.is_zero());
    time.map_or(0, |time| i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1))
}

/// The connection is at fault, not a statement.
fn no_connection(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
