//! Opening a connection, including its first statement.

use std::{io, time::Duration};

use sea_orm::sqlx::{self, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, timeout_at};

/// Time limit for opening a connection and its first statement.
///
/// A pooler in session mode accepts a client immediately, but delays its first statement until a
/// server connection is free. So a connection is open only when the first statement is answered.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    deadline: Instant,
    within: Duration,
}

impl Opening {
    /// Starts the time limit.
    #[must_use]
    pub fn within(within: Duration) -> Self {
        Self { deadline: Instant::now() + within, within }
    }

    /// Connects.
    ///
    /// # Errors
    /// Those of the driver, and an I/O error of the kind [`TimedOut`](io::ErrorKind::TimedOut).
    pub async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let connecting = PgConnection::connect_with(options);
        timeout_at(self.deadline, connecting).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Waits for the result of the first statement.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn first<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let answer = timeout_at(self.deadline, statement).await;
        answer.unwrap_or_else(|_| Err(self.late()))
    }

    /// What is left of the time limit; at least a moment, as a limit of zero would never be met.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// The error of a first statement that is late.
    pub(super) fn late(&self) -> sqlx::Error {
        held_back(self.within)
    }
}

/// The error of a first statement that is not answered in time.
#[must_use]
pub fn held_back(within: Duration) -> sqlx::Error {
    timed_out(format!("the first statement was not answered within {within:?}. {POOLER_IS_FULL}"))
}

/// Why a first statement is not answered, and what to do.
pub(crate) const POOLER_IS_FULL: &str = "A pooler delays it while all its server connections are \
     in use. Increase their number, or open fewer connections to the pooler";

fn no_answer() -> sqlx::Error {
    let text = "no answer in time. Check host and port in DATABASE_URL, and firewalls";
    timed_out(text.to_owned())
}

fn timed_out(text: String) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}
