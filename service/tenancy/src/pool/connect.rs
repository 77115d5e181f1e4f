//! Opening connections.

use std::{sync::Arc, time::Duration};

#[cfg(feature = "testing")]
use sea_orm::DatabaseConnection;
use sea_orm::{DbErr, RuntimeErr, sqlx};
use tenantry_migrate::connect::{Opening, SessionOptions};

#[cfg(feature = "testing")]
use super::mock_session::MockSession;
use super::{
    session::Session,
    session_settings::SessionSettings,
    statement_shapes::StatementShapes,
    write_access::{SessionState, WriteAccess},
};
use crate::{cold_statements::ColdStatements, pooler::RoleSettings};

/// Opens connections that all have the same settings.
pub(super) struct Connector {
    options: SessionOptions,
    sessions: Sessions,
    timeout: Duration,
    /// If cold statements are sent with literals.
    shapes: Option<Arc<StatementShapes>>,
    /// In place of a server.
    #[cfg(feature = "testing")]
    mock: Option<DatabaseConnection>,
}

/// The sessions behind the connections.
pub(super) enum Sessions {
    /// Each connection has its own.
    Own(SessionSettings),
    /// A pooler gives a connection another one for each transaction.
    Pooled(RoleSettings),
}

/// A new connection.
pub(super) struct Connected {
    pub(super) session: Session,
    /// Whether `after_connect` may have changed the session.
    pub(super) customised: bool,
    pub(super) writes: WriteAccess,
    /// Whether the role may ask the server process for its memory.
    pub(super) may_ask_memory: bool,
    /// If it sends cold statements with literals.
    pub(super) shapes: Option<Arc<StatementShapes>>,
}

impl Connector {
    pub(super) fn new(options: SessionOptions, sessions: Sessions, timeout: Duration) -> Self {
        Self {
            options,
            sessions,
            timeout,
            shapes: None,
            #[cfg(feature = "testing")]
            mock: None,
        }
    }

    /// How connections that are opened from now on send cold statements. The driver would write
    /// literals to the log.
    pub(super) fn use_literals(&mut self, cold: ColdStatements) {
        let shapes = StatementShapes::new(cold, self.is_pooled());
        self.shapes = shapes.filter(|_| !self.options.logs_statements()).map(Arc::new);
    }

    /// Opens sessions on SeaORM's mock from now on.
    #[cfg(feature = "testing")]
    pub(super) fn set_mock(&mut self, mock: DatabaseConnection) {
        self.mock = Some(mock);
    }

    pub(super) fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// The schemas of extensions, as they are appended to a `search_path`.
    pub(super) fn extensions(&self) -> &str {
        match &self.sessions {
            Sessions::Own(settings) => &settings.extensions,
            Sessions::Pooled(role) => role.extensions(),
        }
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.role_settings().is_some()
    }

    pub(super) fn role_settings(&self) -> Option<&RoleSettings> {
        match &self.sessions {
            Sessions::Own(_) => None,
            Sessions::Pooled(role) => Some(role),
        }
    }

    /// Opens a connection and applies the settings in one more round trip, or confirms them.
    pub(super) async fn connect(&self) -> Result<Connected, DbErr> {
        #[cfg(feature = "testing")]
        if let Some(mock) = &self.mock {
            let session = Session::Mock(MockSession::new(mock.clone()));
            return Ok(Connected {
                session,
                customised: false,
                writes: WriteAccess::Allowed,
                may_ask_memory: false,
                shapes: None,
            });
        }
        let opening = Opening::within(self.timeout);
        let (mut connection, customised) = self.options.open(&opening).await?;
        let SessionState { writes, has_exact_text, may_ask_memory } = opening
            .first(async {
                match &self.sessions {
                    Sessions::Own(settings) => settings.apply(&mut connection).await,
                    Sessions::Pooled(role) => role.confirm(&mut connection).await,
                }
            })
            .await
            .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
        // After `after_connect` a reset would not restore what the texts depend on.
        let shapes = self.shapes.clone().filter(|_| has_exact_text && !customised);
        let session = Session::Postgres(connection);
        Ok(Connected { session, customised, writes, may_ask_memory, shapes })
    }

    /// Resets a session to the settings. Returns false if it is in a transaction, or not its own.
    pub(super) async fn reset(&self, session: &mut Session) -> Result<bool, sqlx::Error> {
        match session {
            Session::Postgres(connection) => match &self.sessions {
                Sessions::Own(settings) => settings.reset(connection).await,
                Sessions::Pooled(_) => Ok(false),
            },
            #[cfg(feature = "testing")]
            Session::Mock(_) => Ok(true),
        }
    }
}
