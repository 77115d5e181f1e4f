//! Creates the tenant of one line.

use tenantry::{DisplayName, Error, NewTenant, Tenancy, TenantInfo};
use tokio::sync::watch;

use crate::cli::outcome::{Outcome, with_retry};

/// Creates the tenant of one line. Retries transient errors until the import is to `stop`.
pub(super) async fn create_with_retry(
    tenancy: &Tenancy,
    new: &NewTenant,
    dry_run: bool,
    stop: watch::Receiver<bool>,
) -> Outcome {
    with_retry(tenancy, stop, || attempt(tenancy, new, dry_run)).await
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
