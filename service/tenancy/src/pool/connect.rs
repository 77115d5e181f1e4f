//! Opening connections.

use std::time::Duration;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        self, PgConnection, PgPool,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};
use tenantry_migrate::connect::Opening;

use super::session_settings::Settings;

/// Opens connections that differ in nothing.
pub(super) struct Opener {
    options: PgConnectOptions,
    settings: Settings,
    within: Duration,
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

    /// The schemas of extensions as they stand in a `search_path`, each behind a comma.
    pub(super) fn extensions(&self) -> &str {
        &self.settings.extensions
    }

    /// Opens a connection, with its settings made in one round trip more.
    pub(super) async fn open(&self) -> Result<(PgConnection, Writes), DbErr> {
        let opening = Opening::within(self.within);
        let opened = async {
            let mut connection = opening.connect(&self.options).await?;
            let writes = opening.first(self.settings.apply(&mut connection)).await?;
            Ok((connection, writes))
        };
        opened.await.map_err(no_connection)
    }

    /// Brings a session that may have been changed back to the settings. False if that is not
    /// possible, as it is in a transaction.
    pub(super) async fn reset(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        self.settings.reset(connection).await
    }

    /// A pool of one connection, for a transaction of SeaORM's own.
    pub(super) fn pool(&self, statement_timeout: Duration) -> PgPool {
        let settings =
            Settings { statement_timeout: Some(statement_timeout), ..self.settings.clone() };
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.within)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move { settings.apply(connection).await.map(drop) })
            })
            .connect_lazy_with(self.options.clone())
    }
}

/// The connection is at fault, not a statement.
fn no_connection(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
