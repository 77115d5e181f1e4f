//! Commands that help after an error. The library's errors do not name commands.

use std::error::Error as StdError;

use super::targets::TargetError;
use crate::{Error, ExtensionError};

/// The error message, with the command that helps.
pub(super) fn with_hint(error: &(dyn StdError + 'static)) -> String {
    let library = match error.downcast_ref() {
        Some(TargetError::Database(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    match library.and_then(hint) {
        Some(hint) => format!("{error}. {hint}"),
        None => error.to_string(),
    }
}

fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::MissingRegistry => "Run `migration up --registry`",
        Error::Extension(ExtensionError::Missing { .. }) => {
            "`migration up --registry` installs it if the role may do so"
        }
        Error::UnknownVersion { .. } | Error::UnknownBreaking { .. } => {
            "`migration list` prints the migrations"
        }
        Error::HasDependents { .. } => "To drop them, too, pass --cascade",
        _ => return None,
    })
}
