//! Opening connections.

use std::time::Duration;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, PgConnection},
};
use tenantry_migrate::connect::{Opening, SessionOptions};

use super::{session_settings::SessionSettings, write_access::WriteAccess};

/// Opens connections that all have the same settings.
pub(super) struct Connector {
    options: SessionOptions,
    settings: SessionSettings,
    timeout: Duration,
}

/// A new connection.
pub(super) struct Connected {
    pub(super) connection: PgConnection,
    /// Whether `after_connect` may have changed the session.
    pub(super) customised: bool,
    pub(super) writes: WriteAccess,
}

impl Connector {
    pub(super) fn new(
        options: SessionOptions,
        settings: SessionSettings,
        timeout: Duration,
    ) -> Self {
        Self { options, settings, timeout }
    }

    pub(super) fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// The schemas of extensions, as they are appended to a `search_path`.
    pub(super) fn extensions(&self) -> &str {
        &self.settings.extensions
    }

    /// Opens a connection and applies the settings in one more round trip.
    pub(super) async fn connect(&self) -> Result<Connected, DbErr> {
        let opening = Opening::within(self.timeout);
        let (mut connection, customised) = self.options.open(&opening).await?;
        let writes = opening
            .first(self.settings.apply(&mut connection))
            .await
            .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
        Ok(Connected { connection, customised, writes })
    }

    /// Resets a session to the settings. Returns false if it is in a transaction.
    pub(super) async fn reset(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        self.settings.reset(connection).await
    }
}
