//! A new connection, up to the answer to its first statement.

use std::{io, time::Duration};

use sea_orm::sqlx::{self, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, timeout_at};

/// A connection that has to be open, and to have answered its first statement, within a time.
///
/// A pooler in session mode lets a client in by itself, and holds back its first statement until it
/// has a connection to the server for it. So a connection is not open before that is answered.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    deadline: Instant,
    within: Duration,
}

impl Opening {
    /// From now on.
    #[must_use]
    pub fn within(within: Duration) -> Self {
        Self { deadline: Instant::now() + within, within }
    }

    /// Connects.
    ///
    /// # Errors
    /// Those of the driver, and an error of the kind [`TimedOut`](io::ErrorKind::TimedOut).
    pub async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let connecting = PgConnection::connect_with(options);
        timeout_at(self.deadline, connecting).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Waits for the answer to the first statement on the connection.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn first<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let answer = timeout_at(self.deadline, statement).await;
        answer.unwrap_or_else(|_| Err(held_back(self.within)))
    }
}

/// The first statement of a new connection has not been answered in time.
#[must_use]
pub fn held_back(within: Duration) -> sqlx::Error {
    timed_out(format!("the first statement was not answered within {within:?}; {POOLER_IS_FULL}"))
}

/// Why the first statement of a new connection may have to wait, and what to do.
pub(crate) const POOLER_IS_FULL: &str = "a pooler holds it back while all its connections to the \
     server are taken: let the pooler open more of them, or open fewer connections to it";

fn no_answer() -> sqlx::Error {
    let text =
        "no answer in time; check host and port in DATABASE_URL, and the firewalls on the way";
    timed_out(text.to_owned())
}

fn timed_out(text: String) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}
