//! Outcomes of commands for many tenants, and their retries.

use std::time::Duration;

use tenantry::{DbErrorKind, Error, Tenancy};
use tokio::{sync::watch, time::sleep};

use super::error::Error as CommandError;

/// Attempts if the server is busy or lost. The pauses between them take eight seconds in all.
const MAX_ATTEMPTS: u32 = 6;

/// Result for one tenant.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The tenant was created; in a dry run, it would have been.
    Created,
    /// The tenant existed, as it should be.
    AlreadyExists,
    Rejected(String),
    /// The command was stopped between two attempts.
    Cancelled,
    /// No other tenant would fare better: the database can no longer be reached, or the role lacks
    /// the right.
    Hopeless(CommandError),
}

/// Retries transient errors of `attempt` until the command is to `stop`.
pub(super) async fn with_retry<F: Future<Output = Result<Outcome, Error>>>(
    tenancy: &Tenancy,
    mut stop: watch::Receiver<bool>,
    attempt: impl Fn() -> F,
) -> Outcome {
    // An attempt whose connection was lost may have created the tenant.
    let mut was_lost = false;
    let mut attempts = 0;
    loop {
        let error = match attempt().await {
            Ok(Outcome::AlreadyExists) if was_lost => return Outcome::Created,
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        attempts += 1;
        if let Error::Owner(_) = error {
            return Outcome::Hopeless(error.into());
        }
        if !is_transient(&error) || attempts == MAX_ATTEMPTS {
            let lost = error.db_error_kind().is_some() && tenancy.ping().await.is_err();
            return if lost {
                Outcome::Hopeless(CommandError::DatabaseLost(error))
            } else {
                Outcome::Rejected(error.to_string())
            };
        }
        was_lost |= is_lost(&error);
        tokio::select! {
            () = sleep(Duration::from_millis(125 << attempts)) => {}
            _ = stop.wait_for(|stop| *stop) => return Outcome::Cancelled,
        }
    }
}

/// Whether another attempt may succeed. Another command may have taken the slug since it was looked
/// up.
fn is_transient(error: &Error) -> bool {
    matches!(error, Error::SlugTaken(_))
        || is_lost(error)
        || matches!(
            error.db_error_kind(),
            Some(
                DbErrorKind::SerializationConflict
                    | DbErrorKind::LockTimeout
                    | DbErrorKind::Timeout
                    | DbErrorKind::NodeUnavailable
            )
        )
}

fn is_lost(error: &Error) -> bool {
    matches!(error.db_error_kind(), Some(DbErrorKind::Unavailable | DbErrorKind::PoolTimeout))
}
