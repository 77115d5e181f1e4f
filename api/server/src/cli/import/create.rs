//! One line of the file and the database.

use std::time::Duration;

use tenantry::{DbErrorKind, DisplayName, Error, NewTenant, Tenancy, TenantInfo};
use tokio::{sync::watch, time::sleep};

/// How often a line is tried that meets a busy or a lost server: for eight seconds and as long as
/// the attempts take.
const MAX_ATTEMPTS: u32 = 6;

/// How a line ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The tenant is there now – or would be, if it was not a dry run.
    Created,
    /// It was there already, just as the line has it.
    AlreadyExists,
    /// Nothing was changed.
    Refused(String),
    /// Given up between two tries, as the import is to stop.
    Cancelled,
    /// The database is not there any more.
    DatabaseLost(Error),
}

/// Makes the tenant of one line, or tells why not. What may go better the next time is tried
/// again, until the import is to `stop`.
pub(super) async fn create_with_retry(
    tenancy: &Tenancy,
    new: &NewTenant,
    dry_run: bool,
    mut stop: watch::Receiver<bool>,
) -> Outcome {
    // What a try was cut off at may have happened all the same.
    let mut cut_off = false;
    let mut tries = 0;
    loop {
        let error = match attempt(tenancy, new, dry_run).await {
            Ok(Outcome::AlreadyExists) if cut_off => return Outcome::Created,
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        tries += 1;
        if !is_transient(&error) || tries == MAX_ATTEMPTS {
            let lost = error.db_error_kind().is_some() && tenancy.ping().await.is_err();
            return if lost {
                Outcome::DatabaseLost(error)
            } else {
                Outcome::Refused(error.to_string())
            };
        }
        cut_off |= is_lost(&error);
        tokio::select! {
            () = sleep(Duration::from_millis(125 << tries)) => {}
            _ = stop.wait_for(|stop| *stop) => return Outcome::Cancelled,
        }
    }
}

async fn attempt(tenancy: &Tenancy, new: &NewTenant, dry_run: bool) -> Result<Outcome, Error> {
    if let Some(record) = tenancy.get(&new.slug).await? {
        return Ok(match differences(&record, new) {
            None => Outcome::AlreadyExists,
            Some(text) => Outcome::Refused(format!("there is a tenant of this slug, but {text}")),
        });
    }
    if dry_run {
        tenancy.validate_new(new).await?;
    } else {
        tenancy.create(new.clone()).await?;
    }
    Ok(Outcome::Created)
}

/// Whether another try may go better. A slug taken since it was looked for is somebody else's who
/// imports the same tenants.
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

/// What the tenant that is there has otherwise.
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
