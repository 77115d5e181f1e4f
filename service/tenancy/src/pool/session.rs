use sea_orm::sqlx::{self, Connection, PgConnection};

#[cfg(feature = "testing")]
use super::mock_session::MockSession;

/// The session behind a connection of the pool.
pub(super) enum Session {
    Postgres(PgConnection),
    /// For tests without a database.
    #[cfg(feature = "testing")]
    Mock(MockSession),
}

impl Session {
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(connection) => connection.close().await,
            #[cfg(feature = "testing")]
            Self::Mock(_) => Ok(()),
        }
    }
}
