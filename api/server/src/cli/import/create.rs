//! Creates the tenant of one line.

use std::time::Duration;

use tenantry::{DbErrorKind, DisplayName, Error, NewTenant, Tenancy, TenantInfo};
use tokio::{sync::watch, time::sleep};

/// Attempts if the server is busy or lost. The pauses between them take eight seconds in all.
const MAX_ATTEMPTS: u32 = 6;

/// Result of one line.
#[derive(Debug)]
pub(super) enum Outcome {
    /// In a dry run: the tenant would have been created.
    Created,
    /// The tenant existed, with the values of the line.
    AlreadyExists,
    Rejected(String),
    /// The import was stopped between two attempts.
    Cancelled,
    /// The database can no longer be reached.
    DatabaseLost(Error),
}

/// Creates the tenant of one line. Retries transient errors until the import is to `stop`.
pub(super) async fn create_with_retry(
    tenancy: &Tenancy,
    new: &NewTenant,
    dry_run: bool,
    mut stop: watch::Receiver<bool>,
) -> Outcome {
    // An attempt whose connection was lost may have created the tenant.
    let mut was_lost = false;
    let mut attempts = 0;
    loop {
        let error = match attempt(tenancy, new, dry_run).await {
            Ok(Outcome::AlreadyExists) if was_lost => return Outcome::Created,
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        attempts += 1;
        if !is_transient(&error) || attempts == MAX_ATTEMPTS {
            let lost = error.db_error_kind().is_some() && tenancy.ping().await.is_err();
            return if lost {
                Outcome::DatabaseLost(error)
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

async fn attempt(tenancy: &Tenancy, new: &NewTenant, dry_run: bool) -> Result<Outcome, Error> {
    if let Some(record) = tenancy.get(&new.slug).await? {
        return Ok(match differences(&record, new) {
            None => Outcome::AlreadyExists,
            Some(text) => Outcome::Rejected(format!("a tenant with this slug exists, but {text}")),
        });
    }
    if dry_run {
        tenancy.validate_new(new).await?;
    } else {
        tenancy.create(new.clone()).await?;
    }
    Ok(Outcome::Created)
}

/// Whether another attempt may succeed. Another import of the same tenants may have taken the slug
/// since it was looked up.
fn is_transient(error: &Error) -> bool {
    matches!(error, Error::SlugTaken(_))
        || is_lost(error)
        || matches!(
            error.db_error_kind(),
            Some(
                DbErrorKind::SerializationConflict
                    | DbErrorKind::LockTimeout
                    | DbErrorKind::Timeout
            )
        )
}

fn is_lost(error: &Error) -> bool {
    matches!(error.db_error_kind(), Some(DbErrorKind::Unavailable | DbErrorKind::PoolTimeout))
}

/// Differences between an existing tenant and the line.
fn differences(there: &TenantInfo, new: &NewTenant) -> Option<String> {
    let mut found = Vec::new();
    if there.status == "dropping" {
        found.push("it is being dropped".to_owned());
    }
    let name = |name: Option<_>| name.map_or("none".to_owned(), |name| format!("{name:?}"));
    let names = [&there.name, &new.name].map(|it| it.as_ref().map(DisplayName::as_str));
    if names[0] != names[1] {
        found.push(format!("its name is {}, not {}", name(names[0]), name(names[1])));
    }
    for (noun, has, wanted) in [
        ("host names", joined(&there.domains), joined(&new.domains)),
        ("tags", joined(&there.tags), joined(&new.tags)),
    ] {
        if has != wanted {
            found.push(format!("its {noun} are {has}, not {wanted}"));
        }
    }
    (!found.is_empty()).then(|| found.join(", "))
}

fn joined(values: &[impl ToString]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
}
