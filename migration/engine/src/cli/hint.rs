//! Commands that help after an error. The library's errors do not name commands.

use std::error::Error as StdError;

use super::{names::CommandNames, targets::TargetError};
use crate::{DbErrorKind, Error, ExtensionError, drift::VerifyError, setup::SetupError};

/// The error message, with the command that helps.
pub(super) fn with_hint(error: &(dyn StdError + 'static), names: &CommandNames) -> String {
    let hint = match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
        (Some(error), _, _) => of_library(error, names),
        (_, Some(error), _) => of_target(error, names),
        (_, _, Some(error)) => of_verify(error, names),
        _ => error.downcast_ref().and_then(of_setup),
    };
    match hint {
        Some(hint) => format!("{error}. {hint}"),
        None => error.to_string(),
    }
}

fn of_library(error: &Error, names: &CommandNames) -> Option<String> {
    let registry = names.migration("up --registry");
    Some(match error {
        Error::MissingRegistry | Error::RegistryBehind | Error::MissingShared { .. } => {
            format!("Run `{registry}`")
        }
        Error::Extension(ExtensionError::Missing { .. }) => {
            format!("`{registry}` installs it if the role may do so")
        }
        Error::UnknownVersion { .. } | Error::UnknownBreaking { .. } => {
            format!("`{}` prints the migrations", names.migration("list"))
        }
        Error::SharedSchema { .. } => "Use --shared".to_owned(),
        error if error.db_error_kind() == Some(DbErrorKind::InsufficientPrivilege) => {
            "Or give the URL of the role that owns the schemas (--owner-url, TENANTRY_OWNER_URL)"
                .to_owned()
        }
        Error::HasDependents { .. } => "To drop them, too, pass --cascade".to_owned(),
        _ => return None,
    })
}

fn of_target(error: &TargetError, names: &CommandNames) -> Option<String> {
    match error {
        TargetError::UnknownTenant(_) => Some(all_tenants(names)),
        TargetError::Dropping(slug) => {
            Some(format!("`{}` finishes the drop", names.tenant(&format!("drop {slug}"))))
        }
        TargetError::NoShared => None,
        TargetError::Database(error) => of_library(error, names),
    }
}

fn of_verify(error: &VerifyError, names: &CommandNames) -> Option<String> {
    match error {
        VerifyError::UnknownTenant(_) => Some(all_tenants(names)),
        VerifyError::NoRegistry => {
            Some(format!("Run `{}` first", names.migration("up --registry")))
        }
        VerifyError::NoShared => None,
        VerifyError::Migration(error) => of_library(error, names),
    }
}

fn of_setup(error: &SetupError) -> Option<String> {
    let options = match error {
        SetupError::OtherOwner { .. } => "--owner-role ROLE, or --take-ownership",
        SetupError::OneRole(_) | SetupError::NoDefaultName { .. } => "--owner-role, --app-role",
        SetupError::Superuser(_) => "--app-role",
        SetupError::OwnRole(_) => "DATABASE_URL",
        _ => return None,
    };
    Some(format!("({options})"))
}

fn all_tenants(names: &CommandNames) -> String {
    format!("`{}` shows all tenants", names.tenant("list"))
}
