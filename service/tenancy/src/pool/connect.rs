//! Opening connections.

use std::time::Duration;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, PgConnection, postgres::PgConnectOptions},
};
use tenantry_migrate::connect::Opening;

use super::{session_settings::SessionSettings, write_access::WriteAccess};

/// Opens connections that all have the same settings.
pub(super) struct Connector {
    options: PgConnectOptions,
    settings: SessionSettings,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(
        options: PgConnectOptions,
        settings: SessionSettings,
        timeout: Duration,
    ) -> Self {
        Self { options, settings, timeout }
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The schemas of extensions, as they are appended to a `search_path`.
    pub(super) fn extensions(&self) -> &str {
        &self.settings.extensions
    }

    /// Opens a connection and applies the settings in one more round trip.
    pub(super) async fn connect(&self) -> Result<(PgConnection, WriteAccess), DbErr> {
        let opening = Opening::within(self.timeout);
        let connected = async {
            let mut connection = opening.connect(&self.options).await?;
            let writes = opening.first(self.settings.apply(&mut connection)).await?;
            Ok((connection, writes))
        };
        connected
            .await
            .map_err(|error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }

    /// Resets a session to the settings. Returns false if it is in a transaction.
    pub(super) async fn reset(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        self.settings.reset(connection).await
    }
}
