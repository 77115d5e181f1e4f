//! `tenantry tenant adopt --list-from`: adopts the tenants of another framework.

use std::{io, process::ExitCode};

use futures_util::{StreamExt, stream};
use tenantry::{
    AdoptError, AdoptOptions, Error as TenancyError, NewTenant, SchemaName, Tenancy, TenantList,
};
use tenantry_migrate::cli::terminal::{INTERRUPTED, print_interrupted};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    Conditions,
    args::ListArgs,
    entry::{Entry, Rules},
    report::Report,
};
use crate::cli::{
    error::Error,
    outcome::{Outcome, with_retry},
};

/// Tenants that are adopted at the same time.
const JOBS: usize = 4;

/// Reads the list and adopts its tenants, each in a transaction of its own. The status is 0 if all are
/// adopted, 1 if one was rejected.
pub(super) async fn run(
    tenancy: &Tenancy,
    list: &TenantList,
    args: &ListArgs,
    conditions: &Conditions,
    mut report: Report<'_>,
) -> Result<ExitCode, Error> {
    let listed = tenancy.read_tenant_list(list).await?;
    let rules =
        Rules { slug_from: args.slug_from, no_domains: args.no_domains, prefix: &list.prefix };
    let entries = rules.apply(listed, tenancy);
    let hopeless = adopt_all(tenancy, entries, conditions, &mut report).await?;
    let (interrupted, rejected) = report.finish();
    if let Some(error) = hopeless {
        return Err(error);
    }
    Ok(match (interrupted, rejected) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// Adopts tenants until the end, Ctrl-C or the loss of the database, which is returned, and finishes
/// those in progress. A second Ctrl-C exits the process.
async fn adopt_all(
    tenancy: &Tenancy,
    entries: Vec<Entry>,
    conditions: &Conditions,
    report: &mut Report<'_>,
) -> io::Result<Option<Error>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let stop = watch::Sender::new(false);
    let adopt = async |entry: Entry| {
        let outcome = match &entry.tenant {
            _ if *stop.borrow() => Outcome::Cancelled,
            Err(reason) => Outcome::Rejected(reason.clone()),
            Ok((new, schema)) => {
                let options = conditions.apply(AdoptOptions::schema(schema.clone()));
                let attempt = || attempt(tenancy, new, schema, &options);
                with_retry(tenancy, stop.subscribe(), attempt).await
            }
        };
        (entry, outcome)
    };
    let mut work = std::pin::pin!(stream::iter(entries).map(adopt).buffered(JOBS));
    let (mut hopeless, mut interrupted) = (None, false);
    loop {
        tokio::select! {
            _ = interrupts.recv() => {
                if interrupted {
                    std::process::exit(INTERRUPTED.into());
                }
                interrupted = true;
                report.interrupted();
                print_interrupted();
                stop.send_replace(true);
            }
            done = work.next() => match done {
                Some((_, Outcome::Hopeless(error))) => {
                    hopeless.get_or_insert(error);
                    stop.send_replace(true);
                }
                Some((entry, outcome)) => report.record(&entry, &outcome),
                None => return Ok(hopeless),
            },
        }
    }
}

async fn attempt(
    tenancy: &Tenancy,
    new: &NewTenant,
    schema: &SchemaName,
    options: &AdoptOptions,
) -> Result<Outcome, TenancyError> {
    if let Some(record) = tenancy.get(&new.slug).await? {
        return Ok(match record.schema == *schema {
            true => Outcome::AlreadyExists,
            false => Outcome::Rejected(format!(
                "tenant {} has another schema, {:?}",
                new.slug,
                record.schema.as_str()
            )),
        });
    }
    match tenancy.adopt(new.clone(), options).await {
        Ok(_) => Ok(Outcome::Created),
        // With another slug.
        Err(TenancyError::Adopt(AdoptError::OfTenant {
            slug: Some(_), dropped: false, ..
        })) => Ok(Outcome::AlreadyExists),
        Err(error) => Err(error),
    }
}
